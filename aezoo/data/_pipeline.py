"""`tf.data` pipelines of batches: from arrays by index, from records, from pairs."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from aezoo._checks import NOT_FINITE


def from_arrays(x, y=None, *, batch_size: int, shuffle: bool, seed: int | None = None):
    """Batches of arrays in memory, each gathered at once; shuffled anew every epoch."""
    columns = tuple(tf.constant(column) for column in ((x,) if y is None else (x, y)))
    samples = len(x)
    steps = math.ceil(samples / batch_size)

    def epoch(epoch_seed):
        order = tf.range(samples)
        if shuffle:
            order = tf.random.experimental.stateless_shuffle(order, epoch_seed)

        def batch(step):
            rows = order[step * batch_size : (step + 1) * batch_size]
            picked = tuple(tf.gather(column, rows) for column in columns)
            picked = tuple(
                tf.ensure_shape(part, (None, *column.shape[1:]))
                for part, column in zip(picked, columns, strict=True)
            )
            return picked[0] if y is None else picked

        return tf.data.Dataset.range(steps, output_type=tf.int32).map(batch)

    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    dataset = seeds.batch(2).take(1).flat_map(epoch)
    return _counted(dataset, steps)


def from_records(records, samples: int, *, batch_size: int, shuffle: bool, seed: int | None):
    """Batches of single samples that are read as they are needed, at flat memory."""
    if shuffle:
        records = records.shuffle(min(samples, 4096), seed=seed)
    return _counted(records.batch(batch_size), math.ceil(samples / batch_size))


def _counted(dataset, steps: int):
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    return dataset.prefetch(tf.data.AUTOTUNE)


def from_pairs(pairs, like):
    """A dataset of the (input, target, ...) batches that `pairs()` yields.

    Args:
        pairs: Function that begins a new iteration.
        like: The dataset whose batches they are made of, which gives shapes and dtypes.
    """
    spec = like.element_spec
    inputs, *rest = spec if isinstance(spec, tuple) else (spec,)
    corrupted = tf.TensorSpec(inputs.shape, keras.config.floatx())
    dataset = tf.data.Dataset.from_generator(
        pairs, output_signature=(corrupted, *(rest or (inputs,)))
    )
    if like.cardinality() > 0:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(like.cardinality()))
    return dataset.prefetch(tf.data.AUTOTUNE)


def guard(dataset):
    """The same dataset, which stops with a sentence at a batch that is not finite."""

    def checked(step, *batch):
        for part in tf.nest.flatten(batch):
            if part.dtype.is_floating:
                tf.debugging.Assert(
                    tf.reduce_all(tf.math.is_finite(part)),
                    [NOT_FINITE, step],
                    summarize=1,
                )
        return batch[0] if len(batch) == 1 else batch

    if not any(spec.dtype.is_floating for spec in tf.nest.flatten(dataset.element_spec)):
        return dataset
    guarded = dataset.enumerate().map(
        lambda step, batch: checked(step, *(batch if isinstance(batch, tuple) else (batch,)))
    )
    if dataset.cardinality() > 0:
        guarded = guarded.apply(tf.data.experimental.assert_cardinality(dataset.cardinality()))
    return guarded
