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

    # `moved` is called without the layer's `__call__`, whose `build` refuses what is no image.
    layer = AffineCorruption(strength)
    layer.build(dataset.element_spec.shape)

    # Stateless draws: those of a generator would depend on how far the pipeline had read ahead.
    def moved(x, drawn):
        draws = strength * tf.random.stateless_normal((tf.shape(x)[0], 2, 3), drawn)
        # A mean of pixels of 1 may be rounded to 1.0000001, which the check of late batches refuses
        # in the middle of a training, so the range of the batch is kept.
        x = scale_pixels(x)
        return tf.clip_by_value(layer.moved(x, draws), tf.reduce_min(x), tf.reduce_max(x))

    def begin(epoch):
        steps = epoch_seeds(seed, epoch).flat_map(
            lambda first: tf.data.Dataset.counter().map(lambda step: first + tf.stack([0, step]))
        )
        images = tf.data.Dataset.zip((at_epoch(dataset, epoch), steps)).map(moved)
        # `flat_map` hides the number of batches, without which Keras says that the data ran out.
        return counted(images, dataset.cardinality()) if dataset.cardinality() > 0 else images

    return beginning(begin)
