"""What data is, and its batches: arrays, datasets, iterators of batches."""

from __future__ import annotations

import keras
import numpy as np

from aezoo.inputs.arguments import check_positive_integer
from aezoo.inputs.pixels import scale_for_torch


def is_dataset(data) -> bool:
    """Whether `data` is a `tf.data.Dataset`, found out without importing TensorFlow."""
    # The import takes seconds, and on JAX and torch TensorFlow may not be installed.
    return hasattr(data, "element_spec") and hasattr(data, "cardinality")


def is_array(data) -> bool:
    """Whether `data` is one array or tensor that holds all samples."""
    return hasattr(data, "shape") and hasattr(data, "dtype") and not is_dataset(data)


def to_numpy(data) -> np.ndarray:
    """A NumPy array; half precision as float32, which every package and file format can hold."""
    array = data if isinstance(data, np.ndarray) else keras.ops.convert_to_numpy(data)
    # NumPy has no bfloat16 of its own, but the one of `ml_dtypes` equals its name.
    return array.astype("float32") if array.dtype in ("float16", "bfloat16") else array


def as_array(data):
    """Lists, data frames and sparse matrices as arrays; other data as they are.

    Raises:
        ValueError: if a list is uneven, or a masked array has masked entries.
    """
    if isinstance(data, np.ma.MaskedArray):
        check_unmasked(data)
        # Nothing is masked; with the mask gone, all functions treat it as any other array.
        data = data.data
    if is_sparse(data):
        data = data.toarray()
    if isinstance(data, (list, tuple)) or hasattr(data, "to_numpy"):
        try:
            # Since 1.24 NumPy refuses parts of unequal length, and makes no array of lists.
            array = np.asarray(data)
        except ValueError as error:
            raise ValueError(
                "Data must be numbers, the same number of them in each sample. "
                f"Received: a {type(data).__name__} of uneven parts"
            ) from error
        return array
    return scale_for_torch(data)


def is_sparse(data) -> bool:
    """Whether `data` is one of scipy's sparse matrices, found out without importing scipy."""
    return type(data).__module__.startswith("scipy.sparse")


def check_unmasked(data, where: str = "") -> None:
    """Refuses masked entries: the model would learn the values that lie under the mask."""
    if np.ma.is_masked(data):
        first = tuple(int(i) for i in np.argwhere(np.ma.getmaskarray(data))[0])
        raise ValueError(
            "Data must not have masked entries, whose values mean nothing; fill them first, "
            f"for example with aezoo.impute. Received: a masked array with a mask at {first}{where}"
        )


def batches(data, batch_size: int = 256):
    """The batches of `data` one by one; an array is cut into batches of `batch_size`."""
    check_positive_integer("batch_size", batch_size)
    if is_array(data):
        for start in range(0, len(data), batch_size):
            yield data[start : start + batch_size]
    elif is_dataset(data) and keras.backend.backend() != "tensorflow":
        # As Keras's own adapters do: other backends get no tensors of TensorFlow.
        yield from data.as_numpy_iterator()
    else:
        length = len(data) if isinstance(data, keras.utils.PyDataset) else None
        yield from (data[i] for i in range(length)) if length is not None else data


def check_batches(data, name: str = "Input"):
    """An array, or something that gives batches: a dataset, a PyDataset, an iterator of them."""
    many = hasattr(data, "__iter__") and not isinstance(data, (str, bytes, dict, set))
    if not (is_array(data) or many or isinstance(data, keras.utils.PyDataset)):
        raise ValueError(
            f"{name} must be an array, or a dataset of batches. "
            f"Received: {'None' if data is None else f'a {type(data).__name__}'}"
        )
    return data


def joined(parts: list, name: str = "Input") -> np.ndarray:
    """The arrays of all batches as one."""
    if not parts:
        raise ValueError(f"{name} must hold at least one sample. Received: no batches")
    return np.concatenate(parts)


def recut(parts, sizes):
    """The rows of consecutive arrays, cut again into parts of `sizes`; the last may be smaller.

    It reads no more arrays than the next part needs.
    """
    parts, kept, have = iter(parts), [], 0
    for size in sizes:
        while have < size and (more := next(parts, None)) is not None:
            kept.append(more)
            have += len(more)
        if not have:
            return
        # Joined once per part: joining at every array that comes would copy rows again and again.
        rows = kept[0] if len(kept) == 1 else np.concatenate(kept)
        yield rows[:size]
        kept, have = [rows[size:]], max(0, have - size)


def inputs_of(batch):
    """The inputs of a batch that may also hold targets and sample weights."""
    return batch[0] if isinstance(batch, (tuple, list)) else batch


def samples_of(batch):
    """The samples alone, where the inputs of a conditional model are (samples, labels)."""
    while isinstance(batch, (tuple, list)):
        batch = batch[0]
    return batch
