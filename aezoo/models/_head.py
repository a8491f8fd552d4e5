"""What the last layer of every decoder keeps to."""

import keras


def output_dtype() -> str:
    """The dtype of reconstructions: float32 under a mixed policy, else the policy's own."""
    return keras.config.dtype_policy().variable_dtype
