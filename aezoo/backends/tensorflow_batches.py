"""`tf.data` pipelines of batches: from arrays by index, from records, from pairs."""

from __future__ import annotations

import dataclasses
import itertools
import math
import random

import keras
import numpy as np
import tensorflow as tf

from aezoo.inputs.arrays import to_numpy
from aezoo.inputs.training_data import BAD_BATCH, ROUNDING, interval, largest_value


@dataclasses.dataclass
class Rows:
    """Arrays in memory whose rows are gathered by index, shuffled again in every epoch.

    Attributes:
        columns: (x,), (x, y) or (x, y, sample weights), arrays of the same number of rows.
        batch_size: Rows in a batch.
        shuffle: Whether every epoch has an order of its own.
        seed: Integer that fixes these orders, or None.
        first_epoch: Number of the epoch whose order comes first.
    """

    columns: tuple
    batch_size: int
    shuffle: bool
    seed: int | None = None
    first_epoch: int = 0

    def __post_init__(self):
        # The pipeline gathers on the CPU, but a GPU would get these tensors by default.
        with tf.device("CPU:0"):
            self.columns = tuple(tf.convert_to_tensor(column) for column in self.columns)

    @property
    def samples(self) -> int:
        return int(self.columns[0].shape[0])

    @property
    def batch_bytes(self) -> int:
        return self.batch_size * math.prod(self.columns[0].shape[1:]) * self.columns[0].dtype.size

    def batches(self):
        """A dataset of batches; the last one is smaller if the rows do not divide evenly."""
        size = self.batch_size

        def epoch(order):
            return lambda step: self._pick(order[step * size : (step + 1) * size])

        return self._epochs(math.ceil(self.samples / size), epoch)

    def blocks(self, length: int):
        """An endless dataset of blocks of batches, see `tensorflow_fused_steps.Blocks`."""
        size, samples = self.batch_size, self.samples
        full = samples // size
        steps = math.ceil(math.ceil(samples / size) / length)

        def epoch(order):
            # The last block is filled up with row 0; its `count` keeps steps away from these rows.
            padding = tf.zeros((max(0, steps * length - full) * size,), tf.int32)
            padded = tf.concat([order[: full * size], padding], 0)

            def block(step):
                rows = padded[step * length * size : (step + 1) * length * size]
                stacked = self._pick(rows, (length, size))
                count = tf.clip_by_value(full - step * length, 0, length)
                # The shape tells the loop, as it is traced, that there is never a smaller batch.
                if samples == full * size:
                    return stacked, count, self._pick(order[:0], (0,)), tf.zeros((1,), tf.int32)
                last = step == steps - 1
                # Splits are [0], or [0, rows] in the block that the smaller batch follows.
                rest = order[full * size : tf.where(last, samples, full * size)]
                splits = tf.range(tf.where(last, 2, 1)) * (samples - full * size)
                return stacked, count, self._pick(rest), splits

            return block

        return self._epochs(steps, epoch).repeat().prefetch(2)

    def _epochs(self, steps: int, epoch):
        """A dataset of `epoch(order)(step)` for each step, in a new order every time."""

        def one(seed):
            order = tf.range(self.samples)
            # For 60,000 images `Dataset.shuffle` takes .32 s, and indices with a gather .05 s. They
            # are shuffled without a state, so the order depends on the seed of the epoch alone.
            if self.shuffle:
                order = tf.random.experimental.stateless_shuffle(order, seed)
            return tf.data.Dataset.range(steps, output_type=tf.int32).map(epoch(order))

        return epoch_seeds(self.seed, self.first_epoch).flat_map(one)

    def _pick(self, rows, leading=(None,)):
        """These rows of every column, with static shapes."""

        def pick(column):
            picked = tf.gather(column, rows)
            if leading[0] is None:
                return tf.ensure_shape(picked, (None, *column.shape[1:]))
            return tf.reshape(picked, (*leading, *column.shape[1:]))

        picked = tuple(pick(column) for column in self.columns)
        return picked[0] if len(picked) == 1 else picked


def epoch_seeds(seed: int | None, first_epoch: int = 0):
    """A dataset of one pair of integers, which is different in every epoch.

    Each iteration is the next epoch. With a seed the pair depends only on the number of the epoch,
    so a training that is resumed has the same pairs as one that was not interrupted.
    """
    # Without a seed of its own it draws from that of `keras.utils.set_random_seed`.
    if seed is None:
        return tf.data.Dataset.random(rerandomize_each_iteration=True).batch(2).take(1)
    # Counted in Python: a dataset does not know how often it has been iterated.
    epochs = itertools.count(first_epoch)

    def next_epoch():
        # Not of seed + epoch, as the first order of seed 1 would be the second one of seed 0.
        return np.random.default_rng((seed, next(epochs))).integers(2**63, size=2)

    def draw(_):
        return tf.ensure_shape(tf.numpy_function(next_epoch, [], tf.int64), (2,))

    # `map` draws at each iteration; a constant would be drawn once, when the dataset is made.
    return tf.data.Dataset.range(1).map(draw)


def from_arrays(x, y=None, *, batch_size: int, shuffle: bool, seed: int | None = None):
    """Batches of arrays in memory; `fit` finds the arrays again by `rows_of`."""
    rows = Rows((x,) if y is None else (x, y), batch_size, shuffle, seed)

    def begin(epoch):
        begun = dataclasses.replace(rows, first_epoch=epoch)
        dataset = counted(begun.batches(), math.ceil(rows.samples / batch_size)).prefetch(16)
        # Only this object has the attribute: a dataset that is made from it no longer gives these
        # rows, and is read batch by batch.
        dataset.aezoo_rows = begun
        return dataset

    return beginning(begin)


def beginning(begin):
    """The dataset of `begin(0)`, which `at_epoch` can begin at another epoch."""

    def begun(epoch):
        dataset = begin(epoch)
        dataset.aezoo_begin = begun
        return dataset

    return begun(0)


def at_epoch(dataset, epoch: int):
    """The dataset with the order and the augmentation of that epoch and those after it.

    A dataset that `aezoo.data` did not make comes back as it is.
    """
    begin = getattr(dataset, "aezoo_begin", None)
    return dataset if begin is None else begin(epoch)


def rows_of(dataset) -> Rows | None:
    """The arrays behind a dataset that `from_arrays` made; None for any other."""
    return getattr(dataset, "aezoo_rows", None)


def from_records(records, samples: int, *, batch_size: int, shuffle: bool, seed: int | None):
    """Batches of single samples, which are read when they are needed, with constant memory."""

    def shuffled(drawn):
        # TensorFlow compares its seeds with (0, 0): a global seed of 0 would make it ask whether
        # the tensor `drawn` is 0, which it refuses. With 1 no global seed changes the order.
        tf.compat.v1.get_default_graph().seed = 1
        return records.shuffle(min(samples, 4096), seed=drawn[0], reshuffle_each_iteration=False)

    def begin(epoch):
        read = epoch_seeds(seed, epoch).flat_map(shuffled) if shuffle else records
        dataset = counted(read.batch(batch_size), math.ceil(samples / batch_size))
        return dataset.prefetch(tf.data.AUTOTUNE)

    return beginning(begin)


def counted(dataset, steps: int):
    # Without a known number of batches Keras warns that the input ran out of data.
    return dataset.apply(tf.data.experimental.assert_cardinality(steps))


def from_pairs(pairs, like):
    """A dataset of the (input, target, ...) batches that `pairs()` yields.

    Args:
        pairs: Function that begins a new iteration.
        like: The dataset whose batches they are made of, which gives shapes and dtypes.
    """
    spec = like.element_spec
    inputs, *rest = spec if isinstance(spec, tuple) else (spec,)
    # Corruption returns floats, also of pixels.
    corrupted = tf.TensorSpec(inputs.shape, keras.config.floatx())
    dataset = tf.data.Dataset.from_generator(
        pairs, output_signature=(corrupted, *(rest or (inputs,)))
    )
    if like.cardinality() > 0:
        dataset = counted(dataset, like.cardinality())
    return dataset.prefetch(tf.data.AUTOTUNE)


def from_batches(batches, shuffle: bool = False):
    """A dataset of what a generator or a `keras.utils.PyDataset` gives.

    Args:
        batches: An iterator, which is read once, or a PyDataset.
        shuffle: Whether a PyDataset's batches come in another order every epoch.
    """
    known = isinstance(batches, keras.utils.PyDataset)
    # `from_generator` has to be told shapes and dtypes, which only a batch shows.
    first = _as_arrays(batches[0] if known else next(batches))
    waiting = [first]  # for an iterator, which cannot begin again

    def again():
        if not known:
            while waiting:
                yield waiting.pop()
            yield from map(_as_arrays, batches)
            return
        batches.on_epoch_begin()
        order = list(range(len(batches)))
        if shuffle:
            random.shuffle(order)  # as Keras does; `keras.utils.set_random_seed` fixes it
        for step in order:
            yield _as_arrays(batches[step])
        batches.on_epoch_end()

    spec = tf.nest.map_structure(
        lambda part: tf.TensorSpec((None, *part.shape[1:]), part.dtype), first
    )
    dataset = tf.data.Dataset.from_generator(again, output_signature=spec)
    if known:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(batches)))
    dataset.aezoo_first = first  # to be looked at without reading from an iterator
    return dataset


def _as_arrays(batch):
    """A batch as NumPy arrays, with 64-bit floats as Keras's float and without parts of None."""
    if isinstance(batch, (tuple, list)):
        if len(batch) == 3 and batch[1] is None and batch[2] is not None:
            batch = (batch[0], batch[0], batch[2])  # or the weights would become the targets
        parts = [part for part in batch if part is not None]
        return _as_arrays(parts[0]) if len(parts) == 1 else tuple(map(_as_arrays, parts))
    array = to_numpy(batch)
    return array.astype(keras.config.floatx()) if array.dtype == np.float64 else array


def guard(dataset, check):
    """The same dataset, which raises an error of one sentence at a batch that cannot be right.

    Args:
        dataset: Batches of x, (x, y) or (x, y, sample weights).
        check: The `BatchCheck` of the model, with its range and shapes.
    """
    low, high = check.range
    far = largest_value()
    size = f"be at most {far:.2g} in size, so that squared errors do not overflow"
    must = f"lie in {interval(low, high)}"

    def refuse(bad, sentence, *values):
        def stop():
            text = tf.strings.format(BAD_BATCH.format(sentence), values)
            tf.debugging.Assert(False, [text], summarize=-1)
            return True

        # In a branch, so that no text is formatted for a batch that is right.
        return tf.cond(bad, stop, lambda: True)

    def check_range(part, step, name, smallest, largest, must, slack=0.0):
        least, most = tf.reduce_min(part), tf.reduce_max(part)
        refuse(
            (least < smallest - slack) | (most > largest + slack),
            f"{name} must {must}. Received: values from {{}} to {{}} in batch {{}}",
            least, most, step,
        )  # fmt: skip

    def check_shape(part, step, name, shape):
        found = tf.shape(part)
        same = tf.cond(
            tf.equal(tf.size(found), len(shape) + 1),
            lambda: tf.reduce_all(found[1:] == shape),
            lambda: False,
        )
        expected = f"(samples, {', '.join(map(str, shape))})"
        sentence = f"{name} must have the shape {expected}. Received: {{}} in batch {{}}"
        # Checked first, as `ensure_shape` would end in an error of its own.
        with tf.control_dependencies([refuse(~same, sentence, found, step)]):
            return tf.ensure_shape(tf.identity(part), (None, *shape))

    def checked(step, *batch):
        shapes = {"Input": check.input_shape, "Targets": check.output_shape, "Sample weights": None}
        compared = list(shapes)[min(len(batch), 2) - 1]  # what the reconstruction is compared with
        parts = []
        for (name, shape), given in zip(shapes.items(), batch, strict=False):
            # The inputs of a conditional model are (samples, labels).
            part, *labels = tf.nest.flatten(given)
            # A shape that is known when this is traced needs no check at every batch.
            known = None if part.shape.rank is None else part.shape[1:].as_list()
            if shape is not None and known != list(shape):
                part = check_shape(part, step, name, shape)
            sentence = f"{name} must hold at least one sample. Received: none in batch {{}}"
            refuse(tf.shape(part)[0] == 0, sentence, step)
            if part.dtype.is_floating:
                # In the float of the model, in which a float64 may be infinite.
                values = tf.cast(part, keras.config.floatx())
                finite = tf.reduce_all(tf.math.is_finite(values))
                sentence = f"{name} must be finite. Received: NaN or infinity in batch {{}}"
                refuse(~finite, sentence, step)
                check_range(values, step, name, -far, far, size)
                if name == "Sample weights":
                    check_range(values, step, name, 0.0, np.inf, "be at least 0")
                elif name == compared and (low, high) != (-np.inf, np.inf):
                    check_range(values, step, name, low, high, must, ROUNDING)
            parts.append((part, *labels) if isinstance(given, tuple) else part)
        return parts[0] if len(parts) == 1 else tuple(parts)

    guarded = dataset.enumerate().map(
        lambda step, batch: checked(step, *(batch if isinstance(batch, tuple) else (batch,)))
    )
    if dataset.cardinality() > 0:
        guarded = counted(guarded, dataset.cardinality())
    return guarded
