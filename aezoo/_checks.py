"""What data must be before `fit` takes its first step: one sentence says what is wrong."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator

import keras
import numpy as np

from aezoo._arguments import check_number, check_positive_integer, check_seed, reason_of
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
    """Lists, data frames and sparse matrices as arrays; other data as they are.

    Raises:
        ValueError: if a list is uneven, or a masked array has masked entries.
    """
    if isinstance(data, np.ma.MaskedArray):
        check_unmasked(data)
        data = data.data
    if is_sparse(data):
        data = data.toarray()
    if isinstance(data, (list, tuple)) or hasattr(data, "to_numpy"):
        try:
            array = np.asarray(data)
        except ValueError as error:
            raise ValueError(
                "Data must be numbers, of as many in each sample. "
                f"Received: a {type(data).__name__} of uneven parts"
            ) from error
        return array
    return scale_for_torch(data)


def is_sparse(data) -> bool:
    """Whether `data` is one of scipy's sparse matrices, told without importing scipy."""
    return type(data).__module__.startswith("scipy.sparse")


def check_unmasked(data, where: str = "") -> None:
    """Refuses masked entries, which would be learnt as whatever value lies under the mask."""
    if np.ma.is_masked(data):
        first = tuple(int(i) for i in np.argwhere(np.ma.getmaskarray(data))[0])
        raise ValueError(
            "Data must not have masked entries, whose values mean nothing; fill them first, "
            f"with aezoo.impute for one. Received: a masked array with a mask at {first}{where}"
        )


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
            "`sample_weight` must be None or an array of one number per sample. "
            f"Received: {weights!r}"
        )
    if weights is not None:
        check_unmasked(weights)
        check_weights(to_numpy(weights))
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


def recut(parts, sizes):
    """The rows of arrays in a row, cut anew into so many each; the last may have fewer."""
    parts, rows = iter(parts), None
    for size in sizes:
        while rows is None or len(rows) < size:
            more = next(parts, None)
            if more is None:
                break
            rows = more if rows is None else np.concatenate([rows, more])
        if rows is None or not len(rows):
            return
        yield rows[:size]
        rows = rows[size:]


def inputs_of(batch):
    """The inputs of a batch that may carry targets and sample weights behind them."""
    return batch[0] if isinstance(batch, (tuple, list)) else batch


def samples_of(batch):
    """The samples alone, where the inputs of a conditional model are (samples, labels)."""
    while isinstance(batch, (tuple, list)):
        batch = batch[0]
    return batch


def check_inputs(x, shape: tuple, name: str = "Input", where: str = "") -> None:
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
        raise ValueError(
            f"{name} must have the shape {expected}{hint}. Received: {received}{where}"
        )
    if received[0] == 0:
        raise ValueError(f"{name} must hold at least one sample. Received: {received}{where}")


ROUNDING = 1e-5  # beyond a range: what resizing and other sums of weighed pixels add to it


def largest_value() -> float:
    """The largest value whose squared errors can be summed over a sample in Keras's float."""
    return float(np.sqrt(np.finfo(keras.config.floatx()).max)) / 1e4


def check_weights(weights, where: str = "") -> None:
    """Sample weights must be finite and not negative."""
    smallest, largest = (weights.min(), weights.max()) if weights.size else (0, 0)
    if not (smallest >= 0 and np.isfinite(largest)):
        raise ValueError(
            "Sample weights must be finite and at least 0. "
            f"Received: {'NaN' if np.isnan(smallest) else f'{smallest:g} to {largest:g}'}{where}"
        )


def check_values(x, low: float, high: float, name: str = "Input", where: str = "") -> None:
    """Checks that all values are finite and inside [low, high] once pixels are scaled."""
    if check_dtype(x.dtype) in (*PIXEL_RANGES, "bool"):
        return
    first, limit = 0, largest_value()
    smallest, largest = np.inf, -np.inf
    for batch in batches(x, 4096):
        batch = to_numpy(batch)
        with np.errstate(invalid="ignore"):
            good = np.abs(batch) <= limit
        if not good.all():
            place = np.argwhere(~good)[0]
            value = batch[tuple(place)]
            if np.isfinite(value):
                must = f"be at most {limit:.2g} in size, so that squared errors do not overflow"
            else:
                must = "be finite"
            raise ValueError(
                f"{name} must {must}. Received: {value} in sample {first + place[0]} "
                f"at position {tuple(int(i) for i in place[1:])}{where}"
            )
        smallest, largest = min(smallest, batch.min()), max(largest, batch.max())
        first += len(batch)
    if smallest < low - ROUNDING or largest > high + ROUNDING:
        raise ValueError(
            f"{name} must lie in {interval(low, high, smallest)}. "
            f"Received: values from {smallest:g} to {largest:g}{where}"
        )


def interval(low: float, high: float, smallest: float = -1.0) -> str:
    """The range of the decoder's last activation, and how data come to lie in it."""
    hint = (
        "divide pixels by 255 or pass them as uint8"
        if low == 0 and smallest >= 0
        else "scale the data, or build the model with output_activation=None for any range"
    )
    return f"[{low:g}, {high:g}], the range of the last activation of the decoder: {hint}"


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


def check_training_data(model, x, y=None, steps: int | None = None):
    """Stops before the first step what cannot be right; returns the `x` to go on with.

    Arrays are checked wholly, and so are those behind `aezoo.data.load`; everything else is
    checked by its first batch here, and by `guarded` batch by batch. A generator gives its first
    batch back through the iterator that is returned.

    Args:
        model: The `Autoencoder`.
        x: Array, dataset, PyDataset or iterator of batches.
        y: Targets of an array, or None.
        steps: Number of batches that will be taken of a dataset; None is all of them.
    """
    if x is None:
        raise ValueError("`x` must be an array or a dataset of inputs. Received: None")
    check_batches(x, "`x`")
    check_ends(x, steps)
    if is_array(x):
        first = (x,) if y is None else (x, y)
    elif y is not None:
        raise ValueError(f"`y` must be None where `x` is a dataset. Received: {type(y).__name__}")
    elif hasattr(x, "aezoo_rows"):  # the arrays behind a pipeline of `aezoo.data.load`
        first = x.aezoo_rows.columns
    else:
        once = isinstance(x, Iterator)
        with naming_bad_batches():
            first = next(x if once else batches(x), None)
        if first is None:
            raise ValueError("The dataset must hold at least one batch. Received: an empty dataset")
        if once:
            x = (batch for batch in itertools.chain([first], x))
    BatchCheck(model)(first)
    return x


def check_ends(x, steps: int | None = None, name: str = "`steps_per_epoch`") -> None:
    """Refuses a dataset that is known to have no end where no number of batches is given."""
    if steps is None and is_dataset(x) and int(x.cardinality()) == -1:  # tf.data's INFINITE
        raise ValueError(
            f"A dataset must have an end, such as dataset.take(1000), or {name} must be given. "
            "Received: a dataset that repeats without end"
        )


class BatchCheck:
    """Refuses a batch that cannot be right, in one sentence.

    Args:
        model: The `Autoencoder` that is to be trained or evaluated on it.
    """

    def __init__(self, model):
        self.range = output_range(model.decoder)
        self.input_shape = tuple(model.inputs[0].shape[1:])
        self.output_shape = tuple(model.output_shape[1:])

    def __call__(self, batch, number: int | None = None) -> None:
        where = "" if number is None else f" in batch {number}"
        inputs, targets, weights = samples_of(batch), None, None
        if isinstance(batch, (tuple, list)):
            targets, weights = (*batch[1:3], None, None)[:2]
        if not hasattr(inputs, "shape") or is_sparse(inputs):
            raise ValueError(
                "`x` must give one array of inputs per batch. "
                f"Received: a batch of type {type(inputs).__name__}{where}"
            )
        for part in (inputs, targets, weights):
            check_unmasked(part, where)
        check_inputs(inputs, self.input_shape, where=where)
        if targets is None:
            check_values(inputs, *self.range, where=where)
        else:
            check_targets(targets, self.output_shape)
            check_inputs(targets, self.output_shape, "Targets", where)
            if len(targets) != len(inputs):
                raise ValueError(
                    f"Targets must be as many as the inputs, {len(inputs)}. "
                    f"Received: {len(targets)}{where}"
                )
            check_values(inputs, -np.inf, np.inf, where=where)
            check_values(targets, *self.range, "Targets", where)
        if weights is not None:
            check_weights(to_numpy(weights), where)


def guarded(model, x):
    """The same data, which stop with a sentence at a batch that cannot be right.

    Arrays, and those behind `aezoo.data.load`, were checked wholly already.
    """
    if is_dataset(x):
        from aezoo.data._pipeline import guard, rows_of

        return x if rows_of(x) is not None else guard(x, BatchCheck(model))
    if is_array(x) or x is None:
        return x
    if isinstance(x, keras.utils.PyDataset):
        return CheckedBatches(x, BatchCheck(model))
    return _checked_one_by_one(x, BatchCheck(model))


def _checked_one_by_one(batches, check):
    for number, batch in enumerate(batches):
        check(batch, number)
        yield batch if isinstance(batch, tuple) else (batch,)  # Keras takes no bare array


class CheckedBatches(keras.utils.PyDataset):
    """A PyDataset whose batches are checked as they are read."""

    def __init__(self, batches, check):
        super().__init__(batches.workers, batches.use_multiprocessing, batches.max_queue_size)
        self.batches, self.check = batches, check

    def __len__(self):
        return len(self.batches)

    @property
    def num_batches(self):
        return self.batches.num_batches

    def __getitem__(self, index):
        batch = self.batches[index]
        self.check(batch, index)
        return batch

    def on_epoch_begin(self):
        self.batches.on_epoch_begin()

    def on_epoch_end(self):
        self.batches.on_epoch_end()


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


BAD_BATCH = "<aezoo: {} :aezoo>"  # around a sentence that goes through TensorFlow's errors


@contextlib.contextmanager
def naming_bad_batches():
    """Turns TensorFlow's report of a batch that was refused, or not read, into one sentence."""
    try:
        yield
    except Exception as error:
        text = str(error)
        before, after = map(re.escape, BAD_BATCH.split("{}"))
        refused = re.search(f"{before}(.*?){after}", text, re.DOTALL)
        if refused:
            raise ValueError(refused[1]) from None
        if not type(error).__module__.startswith("tensorflow") or "Iterator" not in text:
            raise
        raised = re.search(r"(?m)^(?:.*: )?(\w*(?:Error|Exception)): (.+)$", text)
        if raised and raised[1] == "ValueError" and " Received: " in raised[2]:
            raise ValueError(raised[2]) from None
        raised = raised or re.search(r"with iterator: (\S+): (.+)", text)
        reason = ": ".join(raised.groups()) if raised else reason_of(error)
        raise RuntimeError(
            f"The dataset must give each of its batches without an error. Received: {reason}"
        ) from error
