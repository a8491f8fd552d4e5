"""The pixel rule: uint8 and uint16 become [0, 1] by the range of their dtype."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

# The range of the dtype and not of the data, as a dark image must stay dark.
PIXEL_RANGES = {"uint8": 255.0, "uint16": 65535.0}


def check_dtype(dtype) -> str:
    """The name of a dtype that a model takes; other integers than pixels are refused."""
    try:
        dtype = keras.backend.standardize_dtype(dtype)
    except (ValueError, TypeError):
        # A dtype that Keras does not know, such as that of dates, is named by the message below.
        dtype = str(dtype)
    if dtype not in PIXEL_RANGES and dtype != "bool" and "float" not in dtype:
        raise ValueError(
            "Input must be float, or pixels as uint8 or uint16, which are scaled to [0, 1] "
            f"by the range of their dtype. Received: dtype {dtype}"
        )
    return dtype


def scale_for_torch(data):
    """uint16 arrays in [0, 1] on torch, which has no uint16: Keras would make int32 of them."""
    if keras.backend.backend() != "torch" or getattr(data, "dtype", None) != np.uint16:
        return data
    return (data / PIXEL_RANGES["uint16"]).astype(keras.config.floatx())


def scale_pixels(x, dtype: str | None = None):
    """The pixel rule: uint8 and uint16 become [0, 1] by their dtype's range.

    Args:
        x: A tensor. Floats keep their values, booleans become 0 and 1.
        dtype: The float dtype of the result; None is Keras's default.

    Raises:
        ValueError: for any other dtype.
    """
    received = check_dtype(x.dtype)
    dtype = dtype or keras.config.floatx()
    if received not in PIXEL_RANGES:
        return ops.cast(x, dtype)
    # float16 ends below 65535, and would make infinity of it before the division.
    wide = "float32" if dtype == "float16" else dtype
    return ops.cast(ops.cast(x, wide) / PIXEL_RANGES[received], dtype)
