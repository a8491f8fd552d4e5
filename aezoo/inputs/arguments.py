"""Checks of factory arguments: one sentence that ends `Received: ...`."""

from __future__ import annotations

import json
import math
import pathlib
from collections.abc import Sequence
from difflib import get_close_matches
from numbers import Integral, Real

import numpy as np

# Of what counts samples, units or steps: pipelines number rows and steps in int32.
LARGEST = 2**31 - 1


def is_integer(value) -> bool:
    # True and False are integers in Python, but a mistake where a size or a seed is expected.
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_positive_integer(name: str, value) -> int:
    """The integer itself, if it is 1 or more."""
    if not is_integer(value) or value < 1:
        raise ValueError(f"`{name}` must be a positive integer. Received: {value!r}")
    return _check_size(name, int(value))


def _check_size(name, value):
    if value > LARGEST:
        raise ValueError(f"`{name}` must be at most {LARGEST:,}. Received: {value!r}")
    return value


def check_seed(name: str, value, *, optional: bool = True) -> int | None:
    """A non-negative integer of 32 bits, or None if it is optional."""
    if optional and value is None:
        return None
    # `keras.utils.set_random_seed` seeds NumPy's global generator too, which takes 32 bits.
    if not is_integer(value) or not 0 <= value < 2**32:
        accepted = f"an integer from 0 to {2**32 - 1}{' or None' if optional else ''}"
        raise ValueError(f"`{name}` must be {accepted}. Received: {value!r}")
    return value


def check_flag(name: str, value) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"`{name}` must be True or False. Received: {value!r}")
    return bool(value)


def check_text(name: str, value) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{name}` must be a text. Received: {value!r}")
    return value


def check_path(name: str, value) -> pathlib.Path:
    """A path that the operating system accepts, whether or not there is a file."""
    try:
        path = pathlib.Path(value)
        # `exists` would answer False, or raise an error of its own, for names that are too long,
        # that have a NUL byte, or that lie in a folder that may not be read.
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except (TypeError, ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ValueError(f"`{name}` must be a path ({reason}). Received: {value!r}") from error
    return path


def check_input_shape(value, ranks: Sequence[int] = (1, 2, 3, 4)) -> tuple[int, ...]:
    """The shape of one sample, without the batch."""
    shapes = {1: "(features,)", 2: "(steps, channels)", 3: "(height, width, channels)"}
    accepted = " or ".join(shapes[rank] for rank in ranks if rank in shapes)
    # One integer is the shape of a vector.
    shape = (value,) if is_integer(value) else value
    whole = isinstance(shape, Sequence) and not isinstance(shape, (str, bytes, bytearray))
    valid = whole and all(is_integer(size) and size > 0 for size in shape)
    shape = tuple(map(int, shape)) if valid else ()
    if len(shape) not in ranks or math.prod(shape) > LARGEST:
        raise ValueError(
            f"`input_shape` must be the shape of one sample without the batch, "
            f"{accepted}, of positive integers. Received: {value!r}"
        )
    return shape


def check_number(name: str, value, low: float, high: float = float("inf")) -> float:
    """A real number in the closed interval from `low` to `high`."""
    # NaN compares false with both bounds, so it is refused here as well.
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= value <= high:
        bounds = f"between {low} and {high}" if high < float("inf") else f"of at least {low}"
        raise ValueError(f"`{name}` must be a number {bounds}. Received: {value!r}")
    return float(value)


def check_choice(name: str, value, choices: Sequence):
    # The type is compared too, as 1 == True and 0 == False.
    if not any(isinstance(value, type(choice)) and value == choice for choice in choices):
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, choices))}"
            f"{nearest(value, choices)}. Received: {value!r}"
        )
    return value


def nearest(name, names: Sequence[str]) -> str:
    """` (did you mean 'a' or 'b'?)`, or nothing if no name is similar."""
    # At the default cutoff of 0.6, 'l2' would not be similar to 'l1': half of it is another letter.
    close = get_close_matches(str(name), list(map(str, names)), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""


def reason_of(error, otherwise: str = "unreadable", length: int | None = 200) -> str:
    """The first line of an error of another package, as a part of our own message."""
    # Errors of TensorFlow go on with the nodes of the graph, line after line.
    reason = (str(error).strip() or otherwise).splitlines()[0]
    return reason if length is None else shortened(reason, length)


def shortened(text, length: int = 200) -> str:
    """A text on one line, of at most `length` characters, which ends after a whole word."""
    text = " ".join(str(text).split())
    return text if len(text) <= length else f"{text[: length - 3].rsplit(' ', 1)[0]} ..."


def as_json(value):
    """A value as JSON stores it, with tuples as lists; None if JSON cannot store it."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return None


def check_activation(name: str, value) -> None:
    """The name of a Keras activation, a callable, or None."""
    # Imported here, as the command line uses this module before it needs Keras.
    import keras

    try:
        keras.activations.get(value)
    except (ValueError, TypeError):
        raise ValueError(
            f"`{name}` must be a Keras activation, such as 'relu', 'gelu', 'sigmoid' or 'linear', "
            f"or None. Received: {value!r}"
        ) from None


def unknown_model(name, names) -> ValueError:
    """The error for a name that no model has."""
    return ValueError(
        f"`model` must be one of {', '.join(names)}{nearest(name, names)}. Received: {name!r}"
    )
