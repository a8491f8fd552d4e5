"""The values that a reconstruction can take."""

from __future__ import annotations

import numpy as np

_RANGES = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "clip": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu": (0.0, np.inf),
    "softplus": (0.0, np.inf),
}


def output_range(decoder) -> tuple[float, float]:
    """The values that the last activation of a decoder can take."""
    layer = decoder
    while getattr(layer, "layers", None):
        layer = layer.layers[-1]
    return _RANGES.get(
        getattr(getattr(layer, "activation", None), "__name__", ""), (-np.inf, np.inf)
    )
