"""Passes over the data: blocks of samples, and the sums and the sample taken from them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from aezoo.closed_form._moments import BlockProducts, Moments
from aezoo.inputs.arrays import batches, inputs_of, is_array, to_numpy
from aezoo.inputs.pixels import scale_pixels
from aezoo.layers.seeds import output_dtype
from aezoo.model_classes.pixel_model import PixelModel

# Products of many rows at once are fast; 64 MiB limit a block of large images.
BLOCK_ROWS = 4096
BLOCK_BYTES = 64 * 1024**2


@dataclasses.dataclass
class Stage:
    """One pass over the data and what is solved from it.

    Attributes:
        network: From inputs to flat features, or to flat features and targets.
        solve: Takes the sums of the pass and sets weights of the model.
        sums: Makes empty sums; None is `Moments` of what the network returns.
        batch_size: Samples that go through the network at once; None is a whole block.
        plain: Whether the features are the flattened inputs themselves, whose sums are taken in
            the precision of the data.
    """

    network: PixelModel
    solve: Callable
    sums: Callable | None = None
    batch_size: int | None = None
    plain: bool = False

    def run(self, blocks):
        """The sums over the blocks."""
        if self.sums is not None:
            sums = self.sums()
            for block in blocks:
                sums.add(to_numpy(scale_pixels(block)))
            return sums
        sums = Moments(*(output.shape[1] for output in self.network.outputs))
        products = PixelModel(
            self.network.inputs, BlockProducts(dtype=output_dtype())(self.network.outputs)
        )
        for block in blocks:
            # The network would turn float64 into float32.
            if self.plain and block.dtype == np.float64:
                sums.add_rows(block.reshape(len(block), -1))
            elif self.batch_size or (sums.few and sums.samples + len(block) <= sums.features):
                size = self.batch_size or len(block)
                # A stage with a batch size has layers that are too large for a whole block.
                rows = self.network.predict(block, batch_size=size, verbose=0)
                sums.add_rows(*(rows if isinstance(rows, list) else [rows]))
            else:
                # Not `predict`, which would join the sums of its batches along their first axis.
                sums.add_block(*products.predict_on_batch(block))
        return sums


class Sample:
    """A random sample of the rows that are added, with a maximum of `size` (reservoir sampling)."""

    def __init__(self, size: int, seed: int = 0):
        self.size = size
        self.rows, self._keys = None, np.empty(0)
        self._generator = np.random.default_rng(seed)

    def add(self, rows) -> None:
        # Each row gets a random key, and the rows with the smallest keys are kept. So every row has
        # the same chance, no matter how many follow, and samples are merged by comparing keys.
        keys = np.concatenate([self._keys, self._generator.random(len(rows))])
        kept = np.argsort(keys)[: self.size]
        old, new = kept[kept < len(self._keys)], kept[kept >= len(self._keys)] - len(self._keys)
        rows = rows[new]
        self.rows = rows if self.rows is None else np.concatenate([self.rows[old], rows])
        self._keys = np.concatenate([keys[old], keys[len(self._keys) :][new]])

    def merge(self, other: Sample) -> None:
        """Adds the rows that another sample was drawn from, as if they had been added here."""
        # Samples of one seed have equal keys, so the order must be stable: an unstable sort may
        # differ between processors, and all workers must keep the same rows.
        keys = np.concatenate([self._keys, other._keys])
        kept = np.argsort(keys, kind="stable")[: self.size]
        rows = [sample.rows for sample in (self, other) if len(sample._keys)]
        self.rows = np.concatenate(rows)[kept] if rows else None
        self._keys = keys[kept]

    def state(self) -> dict[str, np.ndarray]:
        """The sample as arrays by name, which `from_state` takes."""
        rows = np.empty(0) if self.rows is None else self.rows
        return {"size": np.array(self.size), "rows": rows, "keys": self._keys}

    @classmethod
    def from_state(cls, state) -> Sample:
        sample = Sample(int(state["size"]))
        sample.rows, sample._keys = state["rows"], state["keys"]
        return sample


def blocks(x, y, steps: int | None):
    """The inputs in blocks of many rows, whatever the size of the batches of the data.

    Raises:
        ValueError: if there are targets that differ from the inputs.
    """
    if is_array(x):
        parts = _cut(x) if y is None else _cut(x, y)
    elif hasattr(x, "aezoo_rows") and steps is None:
        # The arrays behind `aezoo.data.load` themselves, as sums need neither order nor batches.
        parts = _cut(*x.aezoo_rows.columns)
    else:
        parts = itertools.islice(batches(x), steps)
    waiting, count = [], 0
    for part in parts:
        inputs = to_numpy(inputs_of(part))
        _check_targets(inputs, part)
        waiting.append(inputs)
        count += len(inputs)
        if count >= _block_rows(inputs):
            yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
            waiting, count = [], 0
    if waiting:
        yield np.concatenate(waiting)


def _cut(*columns):
    length = _block_rows(columns[0])
    return zip(*(batches(column, length) for column in columns), strict=True)


def _block_rows(x) -> int:
    # 4 bytes per float32; at least one row, however large a sample is.
    return int(np.clip(BLOCK_BYTES // (4 * max(1, np.prod(x.shape[1:]))), 1, BLOCK_ROWS))


def _check_targets(inputs, part) -> None:
    extra = part[1:] if isinstance(part, (tuple, list)) else ()
    if extra and not np.array_equal(inputs, to_numpy(extra[0])):
        raise ValueError(
            "Targets must be the inputs themselves, as a closed form learns from inputs alone. "
            f"Received: other targets of shape {tuple(extra[0].shape)}"
        )
    if len(extra) > 1:
        raise ValueError(
            "Sample weights must be left out, as sums have no use for them. "
            f"Received: weights of shape {tuple(extra[1].shape)}"
        )


@dataclasses.dataclass
class Solver:
    """The settings of a closed form, and its stages (`aezoo.closed_form._stages.Stage`)."""

    def stages(self, model):
        """The stages in their order, each made after the one before it was solved."""
        raise NotImplementedError

    def get_config(self):
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def reconstruction(x, shape, output_activation):
    """Flat outputs in the shape of the inputs, with the last activation."""
    if len(shape) > 1:
        x = layers.Reshape(shape, name="unflatten")(x)
    # float32 also under a mixed policy, whose half precision would round the reconstruction.
    return layers.Activation(output_activation, dtype=output_dtype(), name="reconstruction")(x)


def flat_input(model):
    """An input of the model and its elements as (batch, elements)."""
    inputs = keras.Input(model.input_shape[1:])
    # Sums are taken in float32 under a mixed policy too.
    return inputs, layers.Flatten(dtype=output_dtype())(inputs)


def make_network(inputs, *outputs) -> PixelModel:
    """The network of a stage; pixels are scaled at its input."""
    return PixelModel(inputs, list(outputs))


@keras.saving.register_keras_serializable("aezoo")
class Centre(layers.Layer):
    """Subtracts a vector before anything else, which keeps the precision of data far from 0."""

    def build(self, input_shape):
        # With the mean in a bias after the kernel, two large products would be subtracted.
        self.mean = self.add_weight(name="mean", shape=input_shape[1:], initializer="zeros")

    def call(self, inputs):
        return inputs - self.mean

    def compute_output_shape(self, input_shape):
        return input_shape
