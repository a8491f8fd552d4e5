"""What data must be before `fit` takes its first step: one sentence says what is wrong."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator

import keras
import numpy as np

from aezoo._arguments import check_number, check_positive_integer, check_seed
from aezoo._output_range import output_range

PIXEL_RANGES = {"uint8": 255.0, "uint16": 65535.0}


def check_dtype(dtype) -> str:
    """The name of a dtype that a model takes; other integers than pixels are refused."""
    try:
        dtype = keras.backend.standardize_dtype(dtype)
    except (ValueError, TypeError):
        dtype = str(dtype)
    if dtype not in PIXEL_RANGES and dtype != "bool" and "float" not in dtype:
        raise ValueError(
            "Input must be float, or pixels as uint8 or uint16, which are scaled to [0, 1] "
            f"by the range of their dtype. Received: dtype {dtype}"
        )
    return dtype


def is_dataset(data) -> bool:
    """Whether `data` is a `tf.data.Dataset`, told without importing TensorFlow."""
    return hasattr(data, "element_spec") and hasattr(data, "cardinality")


def is_array(data) -> bool:
    """Whether `data` is one array or tensor that holds all samples."""
    return hasattr(data, "shape") and hasattr(data, "dtype") and not is_dataset(data)


def to_numpy(data) -> np.ndarray:
    """A NumPy array; half precision as float32, which every package and file holds."""
    array = data if isinstance(data, np.ndarray) else keras.ops.convert_to_numpy(data)
    return array.astype("float32") if array.dtype in ("float16", "bfloat16") else array


def as_array(data):
    """Lists and data frames as arrays; datasets, arrays and generators as they are."""
    if isinstance(data, (list, tuple)) or hasattr(data, "to_numpy"):
        try:
            array = np.asarray(data)
        except ValueError as error:
            raise ValueError(
                "Data must be numbers, of as many in each sample. "
                f"Received: a {type(data).__name__} of uneven parts"
            ) from error
        if array.dtype == np.float64:
            array = array.astype(keras.config.floatx())
        return array
    return scale_for_torch(data)


def scale_for_torch(data):
    """uint16 arrays in [0, 1] where Keras would make int32 of them, as torch has no uint16."""
    if keras.backend.backend() != "torch" or getattr(data, "dtype", None) != np.uint16:
        return data
    return (data / PIXEL_RANGES["uint16"]).astype(keras.config.floatx())


def batches(data, batch_size: int = 256):
    """The batches of `data` one by one, as they come out of it: arrays are cut into them."""
    check_positive_integer("batch_size", batch_size)
    if is_array(data):
        for start in range(0, len(data), batch_size):
            yield data[start : start + batch_size]
    elif is_dataset(data) and keras.backend.backend() != "tensorflow":
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


def check_fit_options(options: dict) -> None:
    """What `fit` and `evaluate` count and weigh by, before Keras sees it."""
    check_positive_integer("epochs", options.get("epochs", 1))
    check_number("validation_split", options.get("validation_split", 0), 0, 1)
    for name in ("batch_size", "steps_per_epoch", "steps", "validation_steps",
                 "validation_batch_size"):  # fmt: skip
        if options.get(name) is not None:
            check_positive_integer(name, options[name])
    check_seed("initial_epoch", options.get("initial_epoch", 0), optional=False)  # from 0
    weights = options.get("sample_weight")
    if weights is not None and (not is_array(weights) or not len(weights.shape)):
        raise ValueError(
            "`sample_weight` must be None or an array of one number a sample. "
            f"Received: {weights!r}"
        )
    if options.get("class_weight") is not None:
        raise ValueError(
            "`class_weight` must be None, as there are no classes to weigh. "
            f"Received: {options['class_weight']!r}"
        )
    if not isinstance(options.get("verbose", 0), (int, str)):
        raise ValueError(f"`verbose` must be 0, 1, 2 or 'auto'. Received: {options['verbose']!r}")
    shuffle = options.get("shuffle", True)
    if not isinstance(shuffle, (bool, str)):
        raise ValueError(f"`shuffle` must be True, False or 'batch'. Received: {shuffle!r}")
    callbacks = options.get("callbacks")
    callbacks = () if callbacks is None else callbacks
    for callback in callbacks if isinstance(callbacks, (list, tuple)) else (callbacks,):
        if not isinstance(callback, (keras.callbacks.Callback, keras.callbacks.CallbackList)):
            raise ValueError(f"`callbacks` must be Keras callbacks. Received: {callback!r}")


def joined(parts: list, name: str = "Input") -> np.ndarray:
    """The arrays of all batches as one."""
    if not parts:
        raise ValueError(f"{name} must hold at least one sample. Received: no batches")
    return np.concatenate(parts)


def inputs_of(batch):
    """The inputs of a batch that may carry targets and sample weights behind them."""
    return batch[0] if isinstance(batch, (tuple, list)) else batch


def samples_of(batch):
    """The samples alone, where the inputs of a conditional model are (samples, labels)."""
    while isinstance(batch, (tuple, list)):
        batch = batch[0]
    return batch


def check_inputs(x, shape: tuple, name: str = "Input") -> None:
    """Checks dtype, shape and number of samples of one array."""
    check_dtype(x.dtype)
    received = tuple(x.shape)
    if received[1:] != tuple(shape):
        expected = f"(samples, {', '.join(map(str, shape))})"
        hint = ""
        if received == tuple(shape):
            hint = "; one sample alone is a batch of one, x[None]"
        elif received[1:] == tuple(shape)[:-1] and shape[-1] == 1:
            hint = "; add the channel with x[..., None]"
        raise ValueError(f"{name} must have the shape {expected}{hint}. Received: {received}")
    if received[0] == 0:
        raise ValueError(f"{name} must hold at least one sample. Received: {received}")


def check_values(x, low: float, high: float, name: str = "Input") -> None:
    """Checks that all values are finite and inside [low, high] once pixels are scaled."""
    if check_dtype(x.dtype) in (*PIXEL_RANGES, "bool"):
        return
    first = 0
    smallest, largest = np.inf, -np.inf
    for batch in batches(x, 4096):
        batch = to_numpy(batch)
        finite = np.isfinite(batch)
        if not finite.all():
            where = np.argwhere(~finite)[0]
            value = batch[tuple(where)]
            raise ValueError(
                f"{name} must be finite. Received: {value} in sample {first + where[0]} "
                f"at position {tuple(int(i) for i in where[1:])}"
            )
        smallest, largest = min(smallest, batch.min()), max(largest, batch.max())
        first += len(batch)
    if smallest < low or largest > high:
        hint = (
            "divide pixels by 255 or pass them as uint8"
            if low == 0 and smallest >= 0
            else "scale the data, or build the model with output_activation=None for any range"
        )
        raise ValueError(
            f"{name} must lie in [{low:g}, {high:g}], the range of the decoder's last "
            f"activation: {hint}. Received: values from {smallest:g} to {largest:g}"
        )


def check_targets(y, shape: tuple) -> None:
    """Refuses labels: targets must have the shape of the reconstruction."""
    if not is_array(y):
        raise ValueError(f"`y` must be None or an array. Received: a {type(y).__name__}")
    if tuple(y.shape)[1:] != tuple(shape):
        raise ValueError(
            f"Targets must have the shape of the reconstruction, {('samples', *shape)}; an "
            "autoencoder learns from inputs alone, so drop the labels: fit(x), or "
            f"dataset.map(lambda x, y: x). Received: targets of shape {tuple(y.shape)} and "
            f"dtype {getattr(y.dtype, 'name', y.dtype)}"
        )


def check_training_data(model, x, y=None):
    """Stops before the first step what cannot be right; returns the `x` to go on with.

    Arrays are checked wholly, and so are those behind `aezoo.data.load`; everything else is
    checked by its first batch. A generator gives its
    first batch back through the iterator that is returned.
    """
    if x is None:
        raise ValueError("`x` must be an array or a dataset of inputs. Received: None")
    check_batches(x, "`x`")
    if is_array(x):
        first = (x,) if y is None else (x, y)
    elif y is not None:
        raise ValueError(f"`y` must be None where `x` is a dataset. Received: {type(y).__name__}")
    elif hasattr(x, "aezoo_rows"):  # the arrays behind a pipeline of `aezoo.data.load`
        first = x.aezoo_rows.columns
    else:
        once = isinstance(x, Iterator)
        first = next(x if once else batches(x), None)
        if first is None:
            raise ValueError("The dataset must hold at least one batch. Received: an empty dataset")
        if once:
            x = (batch for batch in itertools.chain([first], x))
    inputs, targets = samples_of(first), None
    if isinstance(first, (tuple, list)) and len(first) > 1:
        targets = first[1]
    if not hasattr(inputs, "shape"):
        raise ValueError(
            "`x` must give one array of inputs a batch. "
            f"Received: a batch of type {type(inputs).__name__}"
        )
    low, high = output_range(model.decoder)
    check_inputs(inputs, model.inputs[0].shape[1:])
    if targets is None:
        check_values(inputs, low, high)
    else:
        check_targets(targets, model.output_shape[1:])
        check_inputs(targets, model.output_shape[1:], "Targets")
        if len(targets) != len(inputs):
            raise ValueError(
                f"Targets must be as many as the inputs, {len(inputs)}. Received: {len(targets)}"
            )
        check_values(inputs, -np.inf, np.inf)
        check_values(targets, low, high, "Targets")
    return x


def split_arrays(x, y, options, share):
    """The end of the arrays is kept for validation, as Keras does."""
    if not is_array(x):
        raise ValueError(
            "`validation_split` must be 0 where `x` is a dataset; pass validation_data. "
            f"Received: {share!r}"
        )
    weights = options.get("sample_weight")
    cut = int(len(x) * (1 - share))
    if not 0 < cut < len(x):
        raise ValueError(
            "`validation_split` must leave samples on both sides. "
            f"Received: {share!r} of {len(x)} samples"
        )
    validation = (x[cut:], None if y is None else y[cut:])
    if weights is not None:
        options = {**options, "sample_weight": weights[:cut]}
        validation = (*validation, weights[cut:])
    return x[:cut], None if y is None else y[:cut], options, validation


NOT_FINITE = "Input must be finite. Received: NaN or infinity in batch"


@contextlib.contextmanager
def naming_bad_batches():
    """Turns TensorFlow's report of a batch that `guard` refused into its one sentence."""
    try:
        yield
    except Exception as error:
        found = re.search(rf"\[{re.escape(NOT_FINITE)}\] \[(\d+)\]", str(error))
        if not found:
            raise
        raise ValueError(f"{NOT_FINITE} {found[1]}") from None
