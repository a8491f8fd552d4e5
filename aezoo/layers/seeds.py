"""Independent integer seeds for every initializer and noise layer of one model."""

import keras
import numpy as np

from aezoo.inputs.arguments import check_seed


def output_dtype() -> str:
    """The dtype of reconstructions: float32 under a mixed policy, else the policy's own."""
    return keras.config.dtype_policy().variable_dtype


class Seeds:
    """Returns one independent integer per call, all derived from one `seed`.

    One integer given to every initializer would make layers of equal shape start
    from identical kernels. With `seed=None` each call returns None, and Keras draws
    from its global state, which `keras.utils.set_random_seed` sets.

    Args:
        seed: A non-negative integer, or None.

    Raises:
        ValueError: if `seed` is anything else.

    Example:

    >>> seeds = Seeds(0)
    >>> seeds() == seeds()
    False
    >>> Seeds(0)() == Seeds(0)()
    True
    """

    def __init__(self, seed: int | None = None):
        check_seed("seed", seed)
        self._sequence = None if seed is None else np.random.SeedSequence(seed)

    def __call__(self) -> int | None:
        if self._sequence is None:
            return None
        (child,) = self._sequence.spawn(1)
        # 31 bits, as some backends keep a seed in a signed 32-bit integer.
        return int(child.generate_state(1)[0] >> 1)
