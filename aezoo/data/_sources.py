"""Where data comes from: each source gives splits, counts, arrays and single records."""

from __future__ import annotations

import math
import os
from numbers import Real

import numpy as np

from aezoo._arguments import check_path
from aezoo._checks import is_array, is_sparse

VALIDATION_ORDER_SEED = 0


class Source:
    """Samples of one origin, as arrays at once or as records one by one."""

    splits: tuple[str, ...] = ("train",)
    unlabelled = "a source without labels"  # what it is where it has none

    @property
    def samples(self) -> int:
        raise NotImplementedError

    @property
    def bytes(self) -> int:
        """Bytes that `arrays` would need."""
        raise NotImplementedError

    @property
    def names(self) -> list[str]:
        """What to call each sample: its number from 0."""
        return [str(number) for number in range(self.samples)]

    def split(self, name: str) -> Source:
        if name not in self.splits:
            alone = self.splits == ("train",)
            hint = "; validation_split=0.1 makes a 'validation'" if alone else ""
            raise ValueError(
                f"`split` must be one of {', '.join(map(repr, self.splits))}{hint}. "
                f"Received: {name!r}"
            )
        return self._split(name)

    def check_image_size(self, image_size) -> None:
        """Refuses a size that the images of this source cannot be given."""

    def divided(self, name: str, share: float) -> Source:
        """The "train" or "validation" part, the same samples every time."""
        raise NotImplementedError

    def first(self, limit: int) -> Source:
        raise NotImplementedError

    def readable(self) -> Source:
        """The samples that can be read; the others are named in a warning."""
        return self

    def arrays(self) -> tuple[np.ndarray, np.ndarray | None]:
        raise NotImplementedError

    def records(self, labels: bool):
        raise NotImplementedError

    def without_labels(self) -> ValueError:
        return ValueError(f"`labels` must be False for {self.unlabelled}. Received: labels=True")

    def _split(self, name: str) -> Source:
        return self


def validation_rows(samples: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Which rows are for training and which for validation, each in ascending order."""
    held_out = math.ceil(samples * share)
    if held_out >= samples:
        raise ValueError(
            f"`validation_split` must leave a sample for training. Received: {share!r} "
            f"of {samples} samples"
        )
    order = np.random.default_rng(VALIDATION_ORDER_SEED).permutation(samples)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


class ArraySource(Source):
    """Arrays in memory: splits is a mapping from the name to (x, y or None)."""

    def __init__(self, parts: dict, name: str = "train"):
        self._parts = parts
        self._name = name
        self.splits = tuple(parts)

    @property
    def samples(self) -> int:
        return len(self.arrays()[0])

    @property
    def bytes(self) -> int:
        return 0  # it is in memory already

    def arrays(self):
        return self._parts[self._name]

    def check_image_size(self, image_size) -> None:
        """Arrays are not resized, which a size of their own would promise."""
        x, _ = self.arrays()
        if image_size is not None and x.ndim == 4 and x.shape[1:3] != image_size:
            raise ValueError(
                f"`source` must hold images of the size {image_size}, as arrays are not resized. "
                f"Received: images of the size {x.shape[1:3]}"
            )

    def first(self, limit):
        return self._rows(slice(limit))

    def divided(self, name, share):
        training, validation = validation_rows(self.samples, share)
        return self._rows(training if name == "train" else validation)

    def _rows(self, rows):
        x, y = self.arrays()
        return ArraySource({self._name: (x[rows], None if y is None else y[rows])}, self._name)

    def _split(self, name):
        return ArraySource(self._parts, name)


def find_source(source, image_size, data_dir) -> Source:
    """The source that an argument means: an array, a path, the digits or a TFDS name."""
    if isinstance(source, Source):
        return source
    if not isinstance(source, (str, os.PathLike)):
        return from_array(source)
    if source == "digits":
        return _digits()
    if source == "":
        raise ValueError("`source` must not be an empty text. Received: ''")
    path = check_path("source", source)
    if path.is_dir():
        from aezoo.data._images import ImageFolder

        return ImageFolder.find(path, image_size)
    if path.is_file():
        from aezoo.data._files import read_file

        return read_file(path)
    if path.suffix or os.sep in str(source) or isinstance(source, os.PathLike):
        raise FileNotFoundError(
            f"`source` must be an existing file or folder where it is a path. Received: {source}"
        )
    from aezoo.data._tfds import find_data_set

    return find_data_set(str(source), image_size, data_dir)


def from_array(array) -> ArraySource:
    if np.ma.is_masked(array):
        raise ValueError(
            "`source` must be an array without masked values, as the mask would be lost; "
            f"filled(number) puts a number there. Received: {np.ma.count_masked(array)} of "
            f"{array.size} values masked"
        )
    if isinstance(array, tuple) and any(np.ndim(part) > 1 for part in array if is_array(part)):
        raise ValueError(
            "`source` must be one array, not a tuple of arrays, such as (x, labels). "
            f"Received: a tuple of {len(array)}"
        )
    if hasattr(array, "to_numpy") and hasattr(array, "columns"):
        array = _from_frame(array)
    if is_sparse(array):
        array = array.toarray()
    try:
        x = np.asarray(array)
    except Exception:  # lists of different lengths, or whatever a class of the user's own raises
        x = np.empty(0, object)
    if x.ndim < 2 or x.dtype.kind not in "fiub":
        raise ValueError(
            "`source` must be an array (samples, ...), a path, 'digits' or the name of a "
            f"TensorFlow data set. Received: {type(array).__name__} of shape {x.shape} and "
            f"dtype {x.dtype}"
        )
    if len(x) and not x.size:
        raise ValueError(f"`source` must hold a value per sample. Received: shape {x.shape}")
    if x.dtype.itemsize > 8:  # long double, which no tensor holds
        x = x.astype("float64")
    return ArraySource({"train": (x, None)})


def _from_frame(frame) -> np.ndarray:
    """A data frame, all columns of which are inputs; pandas makes objects of several dtypes."""
    x = np.asarray(frame)
    if x.dtype != object or x.ndim != 2:
        return x
    good = [all(isinstance(value, (Real, np.bool_)) for value in column) for column in x.T]
    bad = [repr(name) for name, numbers in zip(frame.columns, good, strict=True) if not numbers]
    if bad:
        raise ValueError(
            "`source` must be a data frame of numbers only, with NaN for a missing one. "
            f"Received: other values in {', '.join(bad)}"
        )
    return x.astype("float64")


def _digits() -> ArraySource:
    """scikit-learn's digits: 1,437 for training and 360 for testing, the same every time."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = (digits.images * (255 / 16)).round().astype("uint8")[..., None]
    y = digits.target.astype("int64")
    train, test = validation_rows(len(x), 0.2)
    return ArraySource({"train": (x[train], y[train]), "test": (x[test], y[test])})
