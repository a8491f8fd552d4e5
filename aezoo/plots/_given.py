"""Checks of what is to be drawn."""

from __future__ import annotations

import numpy as np

from aezoo.inputs.arguments import check_number
from aezoo.inputs.arrays import as_array, is_array, to_numpy
from aezoo.inputs.pixels import check_dtype, scale_pixels
from aezoo.model_classes.autoencoder import check_code
from aezoo.model_classes.reconstruction_model import ReconstructionModel

LARGEST_SIZE = 100.0  # inches of a sample


def check_layout(title, size: float = 1.0) -> None:
    """A title, and the size of a sample in inches."""
    if title is not None and not isinstance(title, str):
        raise ValueError(f"`title` must be a text or None. Received: {title!r}")
    check_number("size", size, 0.01, LARGEST_SIZE)


def check_named(name: str, value) -> dict:
    """A dict from labels to what is drawn, not empty."""
    if not isinstance(value, dict) or not value:
        raise ValueError(
            f"`{name}` must be a dict from labels with at least one entry. Received: {value!r}"
        )
    return value


def check_models(models) -> dict:
    """A dict from labels to models."""
    for model in check_named("models", models).values():
        check_model("models", model)
    return models


def check_model(name: str, model, code: bool = False):
    """A model, with a code where the picture is of codes."""
    if code:
        check_code(name, model)
    if not isinstance(model, ReconstructionModel):
        raise ValueError(f"`{name}` must be an Autoencoder, or some by label. Received: {model!r}")
    return model


def as_numbers(name: str, values) -> np.ndarray:
    """Numbers (n,), at least one."""
    try:
        found = np.asarray(values, "float64")
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.ndim != 1 or not len(found):
        raise ValueError(f"`{name}` must hold numbers, one after another. Received: {values!r}")
    return found


def by_number(name: str, values) -> dict:
    """A dict to numbers."""
    as_numbers(name, list(check_named(name, values).values()))
    return values


def unit(x, name: str = "x") -> np.ndarray:
    """Samples as float, pixels in [0, 1]."""
    x = as_array(x)
    if not is_array(x) or len(x.shape) < 2 or not all(x.shape):
        raise ValueError(
            f"`{name}` must be an array of samples. Received: "
            f"{tuple(x.shape) if is_array(x) else f'a {type(x).__name__}'}"
        )
    check_dtype(x.dtype)
    return to_numpy(scale_pixels(x))
