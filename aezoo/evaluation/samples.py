"""Which samples a model is measured on, and which ones PCA and the probes are fitted to."""

from __future__ import annotations

import dataclasses
import itertools
import os

import numpy as np

from aezoo.inputs.arrays import (
    as_array,
    batches,
    inputs_of,
    is_array,
    is_dataset,
    samples_of,
    to_numpy,
)
from aezoo.inputs.pixels import scale_pixels

SHARE = 5  # every fifth sample, or batch of a dataset, is measured where there is no other split


@dataclasses.dataclass
class Part:
    """Samples, with or without labels: an array, or a dataset that is streamed.

    Attributes:
        data: Array (samples, ...), or a dataset of x or of (x, labels).
        labels: Those of an array, or None.
    """

    data: object
    labels: np.ndarray | None = None

    @property
    def labelled(self) -> bool:
        """Whether every sample has a class."""
        if not is_dataset(self.data):
            return self.labels is not None
        # The (x, x) pairs of an autoencoder have no labels, which are one number per sample.
        spec = self.data.element_spec
        return isinstance(spec, tuple) and len(spec) > 1 and len(spec[1].shape) == 1

    @property
    def steps(self) -> int | None:
        """The number of batches of `batches()`, where it is known."""
        if is_array(self.data):
            return -(-len(self.data) // 256)
        # A cardinality below 0 is one that is not known, or infinite.
        return max(0, int(self.data.cardinality())) or None

    def inputs(self):
        """What `fit` takes: inputs alone."""
        if is_array(self.data) or not isinstance(self.data.element_spec, tuple):
            return self.data
        return self.data.map(lambda x, *rest: x)

    def batches(self):
        """(inputs as float with pixels in [0, 1], labels or None), batch by batch."""
        start = 0
        for batch in batches(self.data, 256):
            x = to_numpy(scale_pixels(inputs_of(batch)))
            labels = None
            if self.labels is not None:
                labels = self.labels[start : start + len(x)]
            elif self.labelled:
                labels = to_numpy(batch[1])
            yield x, labels
            start += len(x)


class Thinned:
    """At most `size` rows of a stream, evenly spread: all of them, or every second, fourth, ..."""

    def __init__(self, size: int):
        self._size, self._stride, self._seen, self._kept = size, 1, 0, []

    def add(self, *columns) -> None:
        """More rows: arrays of one length."""
        # The first row here whose number in the whole stream is a multiple of the stride.
        chosen = slice(-self._seen % self._stride, None, self._stride)
        self._kept.append([np.asarray(column)[chosen] for column in columns])
        self._seen += len(columns[0])
        # Every second of the rows that were kept has a number that the doubled stride divides.
        while sum(len(part[0]) for part in self._kept) > self._size:
            self._kept = [[column[::2] for column in self.columns]]
            self._stride *= 2

    @property
    def columns(self) -> list[np.ndarray]:
        """All that was kept, one array per column."""
        return [np.concatenate(parts) for parts in zip(*self._kept, strict=True)]


def find_data(shape, data, labels, train, limit, data_dir) -> tuple[Part, Part]:
    """(the part that PCA and the probes are fitted to, the part that is measured).

    Args:
        shape: Of one sample, as the model takes it.
        data: A source, an array, or a dataset.
        labels: Those of an array, or None.
        train: As `data`, also (x, labels); None takes the training split of a source, else
            four fifths of the data.
        limit: Maximum number of samples of either part.
        data_dir: As in `aezoo.data.load`.
    """
    options = {"image_size": shape[:2] if len(shape) == 3 else None, "limit": limit}
    options["data_dir"] = data_dir
    if labels is not None and not is_array(as_array(data)):
        raise ValueError(
            "`labels` must be None where `data` is a source or a dataset, which holds them. "
            f"Received: {type(labels).__name__}"
        )
    if not _is_source(data):
        test = _given("data", (data, labels) if labels is not None else data, limit)
        return _with_training(test, train, options)
    return _of_source(data, train, options)


def data_name(data) -> str:
    """A source by its name, other data by what they are."""
    if _is_source(data):
        return str(data)
    return "a dataset" if is_dataset(data) else "an array"


def _of_source(data, train, options):
    from aezoo.data import splits

    names = splits(data, options["data_dir"])
    if train is not None:
        test = _read(data, "test" if "test" in names else "train", options)
        return _with_training(test, train, options)
    if "test" in names:
        return _read(data, "train", options), _read(data, "test", options)
    share = {**options, "validation_split": 1 / SHARE}
    return _read(data, "train", share), _read(data, "validation", share)


def _with_training(test, train, options):
    """(train, test), where `train` is given or is four fifths of what was given to test."""
    if _is_source(train):
        return _read(train, "train", options), test
    if train is not None:
        return _given("train", train, options["limit"]), test
    if is_dataset(test.data):
        if 0 <= int(test.data.cardinality()) < SHARE:
            raise ValueError(
                f"`data` must hold at least {SHARE} batches where `train` is None. "
                f"Received: {int(test.data.cardinality())}"
            )
        first, again = (
            [to_numpy(samples_of(batch)) for batch in itertools.islice(batches(test.data), 1)]
            for _ in range(2)
        )
        # Or samples that something is fitted to would also be measured.
        if first and not np.array_equal(first[0], again[0], equal_nan=first[0].dtype.kind == "f"):
            raise ValueError(
                "`data` must give its batches in the same order each time where `train` is None; "
                "shuffle with reshuffle_each_iteration=False. Received: a dataset that shuffles"
            )
        return Part(_every_fifth(test.data, False)), Part(_every_fifth(test.data, True))
    # Not the last fifth, which would be one class alone where data are in the order of classes.
    measured = np.arange(len(test.data)) % SHARE == SHARE - 1
    if not measured.any():
        raise ValueError(
            f"`data` must hold at least {SHARE} samples where `train` is None. "
            f"Received: {len(test.data)}"
        )
    parts = []
    for rows in (~measured, measured):
        labels = None if test.labels is None else test.labels[rows]
        parts.append(Part(to_numpy(test.data)[rows], labels))
    return tuple(parts)


def _is_source(data) -> bool:
    return isinstance(data, (str, os.PathLike))


def _read(source, split, options) -> Part:
    """A split of a source, streamed where it is too large for memory."""
    from aezoo.data import load
    from aezoo.data._load import MEMORY_LIMIT, find_part, read_arrays

    share = options.get("validation_split")
    part = find_part(
        source, split, options["image_size"], share, options["limit"], options["data_dir"]
    )
    # As `load` decides, but without its shuffling and batching of what fits into memory.
    if part.bytes <= MEMORY_LIMIT:
        return Part(*read_arrays(part, source))
    try:
        return Part(load(source, split, batch_size=256, shuffle=False, labels=True, **options))
    # It may be a source without labels; whatever else is wrong is raised again by the second call.
    except ValueError:
        return Part(load(source, split, batch_size=256, shuffle=False, **options))


def _given(name, data, limit) -> Part:
    """An array, (x, labels), or a dataset."""
    if hasattr(data, "aezoo_rows"):
        # What `aezoo.data.load` gave, as arrays: in their own order, whatever it shuffles.
        x, *labels = data.aezoo_rows.columns
        data = (x, *labels) if labels else x
    if is_dataset(data):
        if limit is not None:
            # At least five batches where `limit` permits, as every fifth one is measured.
            data = data.unbatch().take(limit).batch(max(1, min(256, limit // SHARE)))
        return Part(data)
    labels = None
    if isinstance(data, tuple) and len(data) == 2:
        from aezoo.data._load import labelled

        data, labels = labelled(data, name)
    data = as_array(data)
    if not is_array(data) or not len(data.shape):
        raise ValueError(
            f"`{name}` must be a source, an array, (x, labels), or a tf.data.Dataset. "
            f"Received: a {type(data).__name__}"
        )
    return Part(to_numpy(data)[:limit], None if labels is None else labels[:limit])


def _every_fifth(dataset, measured: bool):
    """Every fifth batch, or all others."""
    # One dataset gives both parts, so it must give its batches in the same order each time.
    chosen = dataset.enumerate().filter(lambda i, *batch: (i % SHARE == SHARE - 1) == measured)
    return chosen.map(lambda i, batch: batch)
