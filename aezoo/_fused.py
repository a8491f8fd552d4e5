"""Many optimizer steps in one compiled call, behind Keras's own `fit` (TensorFlow only).

The pipeline is cut into blocks of K batches. One call of the train function takes a block
and runs K steps in one `while` loop, with forward pass, backward pass, optimizer, metrics
and noise inside. Each step is Keras's own `train_step` on the same batch as in Keras's own
loop, so the result is the same; only what Keras does around a step is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from aezoo import _checks
from aezoo.data._pipeline import Rows, rows_of

LONGEST_BLOCK = 256
LONGEST_CONVOLUTIONAL_BLOCK = 16
BLOCK_BYTES = 8 * 1024**2
STEPS_WORTH_COMPILING = 400


@dataclasses.dataclass
class Blocks:
    """A pipeline of blocks.

    Attributes:
        dataset: Endless, or one epoch where `steps` is None; an element is (full batches,
            stacked and padded to K; how many of them there are; the rows of the batches
            behind them; their row splits).
        steps: Number of batches in an epoch; None is unknown.
        length: K, the number of batches in a block.
    """

    dataset: tf.data.Dataset
    steps: int
    length: int


@contextlib.contextmanager
def blocks(model, data: dict, epochs: int = 1):
    """Lets `fit` or `evaluate` run on blocks, where that gives what Keras's loop gives.

    Args:
        model: The `Autoencoder`.
        data: The arguments of `fit` or `evaluate`.
        epochs: Number of epochs that they are for.

    Yields:
        The arguments with datasets of blocks in the place of the data; the same
        arguments where single batches are asked for.
    """
    in_blocks = _in_blocks(model, data) if _may_fuse(model, data) else None
    if in_blocks is None:
        yield data
        return
    training, data = in_blocks
    _build(model, training)
    jit_compile = choose_jit(model, (training.steps or STEPS_WORTH_COMPILING) * epochs)
    kept = (model.train_function, model.test_function, model.steps_per_execution)
    model.train_function = _function(model, model.train_step, training.length, jit_compile)
    model.test_function = _function(model, model.test_step, training.length, jit_compile)
    model.steps_per_execution = training.length
    try:
        yield data
    finally:
        model.train_function, model.test_function, model.steps_per_execution = kept


def _in_blocks(model, data: dict):
    """The blocks to train on and the arguments that hold them, or None.

    All data of one call is in blocks of one length, as Keras counts with one length.
    """
    steps = "steps_per_epoch" if "validation_data" in data else "steps"
    training = _find_blocks(model, data, data.get("batch_size"), data.get(steps))
    if training is None:
        return None
    found = {**data, "x": training.dataset, "y": None, "sample_weight": None, "shuffle": False}
    found = {**found, "batch_size": None, steps: training.steps}
    if data.get("validation_data") is not None:
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data["validation_data"])
        batch_size = data.get("validation_batch_size") or data.get("batch_size")
        parts = {"x": x, "y": y, "sample_weight": weights, "shuffle": False}
        asked = data.get("validation_steps")
        validation = _find_blocks(model, parts, batch_size, asked, training.length)
        if validation is None or validation.length != training.length:
            return None
        found = {**found, "validation_data": validation.dataset}
        found["validation_steps"] = validation.steps
    return training, found


def choose_jit(model, steps: int) -> bool:
    """Whether XLA compiles the loop, for `jit_compile="auto"`.

    On a GPU always. On a CPU XLA's products of matrices are as fast as TensorFlow's and
    the loop around them is faster, but its convolutions are slower; and compiling takes
    as long as it saves in about `STEPS_WORTH_COMPILING` steps of a small net.
    """
    if model.jit_choice != "auto":
        return bool(model.jit_choice)
    if tf.config.list_physical_devices("GPU"):
        return bool(model.jit_compile)
    return steps >= STEPS_WORTH_COMPILING and not _has_convolutions(model)


def choose_length(model, steps: int, batch_bytes: int) -> int:
    """K: long enough that a block costs more than its call, short enough for memory."""
    longest = LONGEST_CONVOLUTIONAL_BLOCK if _has_convolutions(model) else LONGEST_BLOCK
    return max(1, min(longest, steps, BLOCK_BYTES // max(1, batch_bytes)))


def _has_convolutions(model) -> bool:
    return any(
        _has_convolutions(layer) if hasattr(layer, "layers") else "Conv" in type(layer).__name__
        for layer in model.layers
    )


def _may_fuse(model, data) -> bool:
    """Whether nothing was asked for that needs Keras's own loop."""
    callbacks = data.get("callbacks") or ()
    if not isinstance(callbacks, (list, tuple)):
        callbacks = getattr(callbacks, "callbacks", [callbacks])
    return (
        not model.run_eagerly
        and model.steps_per_execution == 1
        and data.get("class_weight") is None
        and isinstance(data.get("shuffle", True), bool)
        and not tf.distribute.has_strategy()
        and model.distribute_strategy is tf.distribute.get_strategy()
        and not any(map(_sees_batches, callbacks))
    )


def _sees_batches(callback) -> bool:
    """Whether a callback looks at single batches."""
    if getattr(callback, "sees_blocks", False):
        return False
    if isinstance(callback, (keras.callbacks.ModelCheckpoint, keras.callbacks.BackupAndRestore)):
        return callback.save_freq != "epoch"
    if isinstance(callback, (keras.callbacks.ProgbarLogger, keras.callbacks.History)):
        return False
    if isinstance(callback, keras.callbacks.TensorBoard):
        traces = getattr(callback, "_should_trace", True)
        return callback.update_freq != "epoch" or callback.write_steps_per_second or traces
    hooks = [
        f"on_{part}batch_{moment}"
        for part in ("", "train_", "test_")
        for moment in ("begin", "end")
        if hasattr(keras.callbacks.Callback, f"on_{part}batch_{moment}")
    ]
    return any(
        hook in vars(callback)
        or getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook)
        for hook in hooks
    )


def _find_blocks(model, data, batch_size, steps_asked, length=None) -> Blocks | None:
    """The blocks of an array or a dataset, None for anything else."""
    x = data["x"]
    if _checks.is_array(x):
        rows = _array_rows(x, data.get("y"), data.get("sample_weight"), batch_size or 32, data)
    elif _checks.is_dataset(x):
        rows = rows_of(x)
    else:
        return None
    if rows is not None:
        if steps_asked is not None:
            return None
        steps = math.ceil(rows.samples / rows.batch_size)
        length = length or choose_length(model, steps, rows.batch_bytes)
        return Blocks(rows.blocks(length), steps, length) if length > 1 else None
    cardinality = int(x.cardinality())
    if cardinality == tf.data.INFINITE_CARDINALITY and steps_asked is not None:
        steps = steps_asked
    elif cardinality == tf.data.UNKNOWN_CARDINALITY and steps_asked is None:
        steps = None
    elif cardinality > 0 and steps_asked in (None, cardinality):
        steps = cardinality
    else:
        return None
    first = tf.nest.flatten(next(iter(x)))
    size = int(first[0].shape[0])
    batch_bytes = sum(part.numpy().nbytes for part in first)
    length = length or choose_length(model, steps or LONGEST_BLOCK, batch_bytes)
    if steps is not None and cardinality != steps:
        length = math.gcd(length, steps)
    if length == 1:
        return None
    stacked = _stacked(x, size, length)
    stacked = stacked if steps is None else stacked.repeat()
    return Blocks(stacked.prefetch(2), steps, length)


def _array_rows(x, y, sample_weight, batch_size, data) -> Rows:
    """Arrays as Keras takes them: 64-bit floats become Keras's float."""
    columns = [_checks.to_numpy(column) for column in (x, y, sample_weight) if column is not None]
    for i, column in enumerate(columns):
        if np.issubdtype(column.dtype, np.floating):
            columns[i] = column.astype(keras.config.floatx(), copy=False)
    return Rows(tuple(columns), batch_size, data.get("shuffle", True))


def _stacked(dataset, size: int, length: int):
    """Blocks of any batched dataset: leading batches of `size` rows, the others behind."""

    def cut(*parts):
        parts = [
            part if isinstance(part, tf.RaggedTensor) else tf.RaggedTensor.from_tensor(part)
            for part in tf.nest.flatten(parts)
        ]
        lengths = parts[0].row_lengths()
        count = tf.reduce_sum(tf.math.cumprod(tf.cast(lengths == size, tf.int32)))
        splits = parts[0].row_splits[count:]
        full, rest = [], []
        for part, spec in zip(parts, specs, strict=True):
            rows, shape = part.flat_values, spec.shape[1:]
            padding = [[0, (length - count) * size], *[[0, 0]] * len(shape)]
            padded = tf.pad(rows[: count * size], padding)
            full.append(tf.reshape(padded, (length, size, *shape)))
            rest.append(rows[splits[0] :])
        pack = lambda parts: tf.nest.pack_sequence_as(structure, parts)  # noqa: E731
        return pack(full), count, pack(rest), splits - splits[0]

    structure = dataset.element_spec
    specs = tf.nest.flatten(structure)
    return dataset.ragged_batch(length).map(cut)


def _build(model, blocks: Blocks) -> None:
    """Metrics and optimizer get their variables before the loop is traced."""
    batch = tf.nest.map_structure(
        lambda spec: keras.KerasTensor(spec.shape[1:], spec.dtype.name),
        blocks.dataset.element_spec[0],
    )
    model._symbolic_build(data_batch=batch)


def _function(model, step, length: int, jit_compile: bool):
    """The train or test function that takes a block; made once for each compilation."""
    key = (step.__name__, length, jit_compile)
    if key not in model.fused_functions:
        model.fused_functions[key] = _make_function(model, step, jit_compile)
    return model.fused_functions[key]


def _make_function(model, step, jit_compile: bool):
    def run(full, count):
        def body(i):
            step(tf.nest.map_structure(lambda part: part[i], full))
            return (i + 1,)

        tf.while_loop(lambda i: i < count, body, (0,), parallel_iterations=1)

    compiled = tf.function(run, jit_compile=jit_compile, autograph=False)

    def take_block(iterator):
        full, count, rest, splits = iterator.get_next()
        compiled(full, count)

        def body(i):
            step(tf.nest.map_structure(lambda part: part[splits[i] : splits[i + 1]], rest))
            return (i + 1,)

        if tf.nest.flatten(rest)[0].shape[0] != 0:
            tf.while_loop(lambda i: i < tf.size(splits) - 1, body, (0,), parallel_iterations=1)
        return model.get_metrics_result()

    return tf.function(take_block, autograph=False, reduce_retracing=True)
