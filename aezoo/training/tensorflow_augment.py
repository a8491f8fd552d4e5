"""Training images under affine maps, input and target alike."""

from __future__ import annotations

import tensorflow as tf

from aezoo.backends.tensorflow_batches import at_epoch, beginning, counted, epoch_seeds


def augmented(dataset, strength: float, seed: int | None):
    """Batches of images under affine maps, drawn anew in every step of every epoch.

    Each draw is that of its epoch and step, however far ahead the pipeline reads.
    """
    from aezoo.inputs.pixels import scale_pixels
    from aezoo.layers.corruption import AffineCorruption

    layer = AffineCorruption(strength)
    layer.build(dataset.element_spec.shape)

    def moved(x, drawn):
        draws = strength * tf.random.stateless_normal((tf.shape(x)[0], 2, 3), drawn)
        x = scale_pixels(x)  # rounding must not take a mean of pixels out of the range of the data
        return tf.clip_by_value(layer.moved(x, draws), tf.reduce_min(x), tf.reduce_max(x))

    def begin(epoch):
        steps = epoch_seeds(seed, epoch).flat_map(
            lambda first: tf.data.Dataset.counter().map(lambda step: first + tf.stack([0, step]))
        )
        images = tf.data.Dataset.zip((at_epoch(dataset, epoch), steps)).map(moved)
        return counted(images, dataset.cardinality()) if dataset.cardinality() > 0 else images

    return beginning(begin)
