"""Arrays and data frames in memory as a source."""

from __future__ import annotations

from numbers import Real

import numpy as np

from aezoo.data._source import Source, validation_rows
from aezoo.inputs.arrays import is_array, is_sparse


class ArraySource(Source):
    """Arrays in memory; `parts` maps the name of each split to (x, y or None)."""

    def __init__(self, parts: dict, name: str = "train"):
        self._parts = parts
        self._name = name
        self.splits = tuple(parts)

    @property
    def samples(self) -> int:
        return len(self.arrays()[0])

    @property
    def bytes(self) -> int:
        # Nothing beyond what is in memory already, so arrays are never streamed.
        return 0

    def arrays(self):
        return self._parts[self._name]

    def check_image_size(self, image_size) -> None:
        """Refuses any size but that of the images, as arrays are not resized."""
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


def from_array(array) -> ArraySource:
    # Before anything else, since `np.asarray` drops a mask without a word.
    if np.ma.is_masked(array):
        raise ValueError(
            "`source` must be an array without masked values, as the mask would be lost; "
            f"filled(number) puts a number there. Received: {np.ma.count_masked(array)} of "
            f"{array.size} values masked"
        )
    # NumPy would stack (x, x) to one array of two samples. A tuple of rows is an array, though.
    if isinstance(array, tuple) and any(np.ndim(part) > 1 for part in array if is_array(part)):
        raise ValueError(
            "`source` must be one array, not a tuple of arrays, such as (x, labels). "
            f"Received: a tuple of {len(array)}"
        )
    # pandas and polars have both names, and neither has to be imported to ask.
    if hasattr(array, "to_numpy") and hasattr(array, "columns"):
        array = _from_frame(array)
    if is_sparse(array):
        array = array.toarray()
    try:
        x = np.asarray(array)
    except Exception:
        # Lists of different lengths, or whatever a class of the user's own raises.
        x = np.empty(0, object)
    if x.ndim < 2 or x.dtype.kind not in "fiub":
        raise ValueError(
            "`source` must be an array (samples, ...), a path, 'digits' or the name of a "
            f"TensorFlow data set. Received: {type(array).__name__} of shape {x.shape} and "
            f"dtype {x.dtype}"
        )
    if len(x) and not x.size:
        raise ValueError(f"`source` must hold a value per sample. Received: shape {x.shape}")
    # No tensor holds a long double.
    if x.dtype.itemsize > 8:
        x = x.astype("float64")
    return ArraySource({"train": (x, None)})


def _from_frame(frame) -> np.ndarray:
    """A data frame as an array; all columns are inputs."""
    x = np.asarray(frame)
    # Where columns differ in dtype, pandas may give an array of objects that are all numbers.
    if x.dtype != object or x.ndim != 2:
        return x
    # NumPy's boolean is not a `Real`, although Python's is.
    good = [all(isinstance(value, (Real, np.bool_)) for value in column) for column in x.T]
    bad = [repr(name) for name, numbers in zip(frame.columns, good, strict=True) if not numbers]
    if bad:
        raise ValueError(
            "`source` must be a data frame of numbers only, with NaN for a missing one. "
            f"Received: other values in {', '.join(bad)}"
        )
    return x.astype("float64")
