"""The precision of what must not be rounded: reconstructions, sums and exponentials."""

import keras


def output_dtype() -> str:
    """The dtype of reconstructions: float32 under a mixed policy, else the policy's own."""
    return keras.config.dtype_policy().variable_dtype
