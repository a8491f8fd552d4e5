"""Checks of what is to be plotted."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Interval

from aezoo.inputs.annotations import Number
from aezoo.inputs.arrays import as_array, is_array, to_numpy
from aezoo.inputs.pixels import check_dtype, scale_pixels
from aezoo.model_classes.autoencoder import check_code
from aezoo.model_classes.reconstruction_model import ReconstructionModel

Inches = Annotated[Number, Interval(ge=0.01, le=100)]  # of a sample


def check_named(name: str, value) -> dict:
    """A dict from labels to what is plotted, not empty."""
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
        raise ValueError(
            f"`{name}` must be an Autoencoder, or a dict of them by label. Received: {model!r}"
        )
    return model


def as_numbers(name: str, values) -> np.ndarray:
    """Numbers (n,), at least one."""
    try:
        found = np.asarray(values, "float64")
    # What holds no numbers is refused below, as an empty list is.
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.ndim != 1 or not len(found):
        raise ValueError(f"`{name}` must hold numbers, at least one. Received: {values!r}")
    return found


def by_number(name: str, values) -> dict:
    """A dict from labels to numbers."""
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
