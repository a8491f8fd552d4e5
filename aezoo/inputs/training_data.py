"""What data must be before `fit` takes its first step: one sentence says what is wrong."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator

import keras
import numpy as np

from aezoo.inputs.arguments import check_number, check_positive_integer, check_seed, reason_of
from aezoo.inputs.arrays import (
    batches,
    check_batches,
    check_unmasked,
    is_array,
    is_dataset,
    is_sparse,
    samples_of,
    to_numpy,
)
from aezoo.inputs.pixels import PIXEL_RANGES, check_dtype

# Any other activation, such as "linear", may reach all values; "clip" is this package's own.
_RANGES = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "clip": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu": (0.0, np.inf),
    "softplus": (0.0, np.inf),
}


def output_range(model) -> tuple[float, float]:
    """The values that the last activation of a model can take."""
    # The decoder is a model inside the model, and may itself end in one.
    layer = model
    while getattr(layer, "layers", None):
        layer = layer.layers[-1]
    return _RANGES.get(
        getattr(getattr(layer, "activation", None), "__name__", ""), (-np.inf, np.inf)
    )


def check_fit_options(options: dict) -> None:
    """Checks the counts, weights and callbacks of `fit` and `evaluate` before Keras sees them."""
    check_positive_integer("epochs", options.get("epochs", 1))
    check_number("validation_split", options.get("validation_split", 0), 0, 1)
    for name in ("batch_size", "steps_per_epoch", "steps", "validation_steps",
                 "validation_batch_size"):  # fmt: skip
        if options.get(name) is not None:
            check_positive_integer(name, options[name])
    # The check of seeds, as epochs are numbered from 0.
    check_seed("initial_epoch", options.get("initial_epoch", 0), optional=False)
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


# How far rounding takes values beyond a range, as in resizing and other weighted sums of pixels.
ROUNDING = 1e-5


def largest_value() -> float:
    """The largest value whose squared errors can be summed over a sample in Keras's float."""
    # The square of 1e4 leaves room for a sum of 10^8 squares.
    return float(np.sqrt(np.finfo(keras.config.floatx()).max)) / 1e4


def check_weights(weights, where: str = "") -> None:
    """Sample weights must be finite and not negative."""
    # The minimum of an array with a NaN is NaN, which is not at least 0.
    smallest, largest = (weights.min(), weights.max()) if weights.size else (0, 0)
    if not (smallest >= 0 and np.isfinite(largest)):
        raise ValueError(
            "Sample weights must be finite and at least 0. "
            f"Received: {'NaN' if np.isnan(smallest) else f'{smallest:g} to {largest:g}'}{where}"
        )


def check_values(x, low: float, high: float, name: str = "Input", where: str = "") -> None:
    """Checks that all values are finite and inside [low, high] once pixels are scaled."""
    # Scaled pixels lie in [0, 1], which every range of `_RANGES` includes.
    if check_dtype(x.dtype) in (*PIXEL_RANGES, "bool"):
        return
    first, limit = 0, largest_value()
    smallest, largest = np.inf, -np.inf
    # In parts, as comparing a large array as a whole would take its memory once more.
    for batch in batches(x, 4096):
        batch = to_numpy(batch)
        # NaN compares false, so one comparison finds NaN, infinity and values that are too large.
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
    """The range of the decoder's last activation, and a hint how to bring data into it."""
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
    """Refuses data that cannot be right before the first step; returns the `x` to train on.

    Arrays are checked completely, and so are those behind `aezoo.data.load`; other data are checked
    by their first batch here, and by `guarded` batch by batch. The first batch of a generator comes
    again from the iterator that is returned.

    Args:
        model: The `ReconstructionModel`.
        x: Array, dataset, PyDataset or iterator of batches.
        y: Targets of an array, or None.
        steps: Number of batches that will be taken from a dataset; None is all of them.
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
            # A generator expression, as Keras takes generators and no other iterators.
            x = (batch for batch in itertools.chain([first], x))
    BatchCheck(model)(first)
    return x


def check_ends(x, steps: int | None = None, name: str = "`steps_per_epoch`") -> None:
    """Refuses a dataset that is known to have no end, unless a number of batches is given."""
    # -1 is `tf.data.INFINITE_CARDINALITY`, without an import of TensorFlow.
    if steps is None and is_dataset(x) and int(x.cardinality()) == -1:
        raise ValueError(
            f"A dataset must have an end, such as dataset.take(1000), or {name} must be given. "
            "Received: a dataset that repeats without end"
        )


class BatchCheck:
    """Refuses a batch that cannot be right, in one sentence.

    Args:
        model: The `ReconstructionModel` that is to be trained or evaluated on it.
    """

    def __init__(self, model):
        self.range = output_range(model)
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
                    f"Targets must have the same number of samples as the inputs, {len(inputs)}. "
                    f"Received: {len(targets)}{where}"
                )
            # Inputs beside targets, such as noisy ones, need not be in the range of the output.
            check_values(inputs, -np.inf, np.inf, where=where)
            check_values(targets, *self.range, "Targets", where)
        if weights is not None:
            check_weights(to_numpy(weights), where)


def split_arrays(x, y, options, share):
    """The end of the arrays is kept for validation, as Keras does."""
    # Not left to Keras, as the samples for validation are checked and corrupted differently.
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


# Marks a message of `guard`, around which TensorFlow puts names of operations and its own words.
BAD_BATCH = "<aezoo: {} :aezoo>"


@contextlib.contextmanager
def naming_bad_batches():
    """Turns TensorFlow's report of a batch that was refused or cannot be read into one sentence."""
    try:
        yield
    except Exception as error:
        text = str(error)
        before, after = map(re.escape, BAD_BATCH.split("{}"))
        refused = re.search(f"{before}(.*?){after}", text, re.DOTALL)
        if refused:
            raise ValueError(refused[1]) from None
        # Errors of the input pipeline name an iterator; those of the model itself pass unchanged.
        if not type(error).__module__.startswith("tensorflow") or "Iterator" not in text:
            raise
        # TensorFlow repeats an error of Python code in a line that begins with its class.
        raised = re.search(r"(?m)^(?:.*: )?(\w*(?:Error|Exception)): (.+)$", text)
        if raised and raised[1] == "ValueError" and " Received: " in raised[2]:
            # A check of this package that ran in a generator inside the pipeline.
            raise ValueError(raised[2]) from None
        # Operations fail with "... transformation with iterator: NAME: REASON".
        raised = raised or re.search(r"with iterator: (\S+): (.+)", text)
        reason = ": ".join(raised.groups()) if raised else reason_of(error)
        raise RuntimeError(
            f"The dataset must give each of its batches without an error. Received: {reason}"
        ) from error
