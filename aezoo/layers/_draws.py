"""The random numbers of an evaluation: each sample has its own, the same every time.

Numbers from `keras.random` depend on the batch of a sample, on the backend, and on whether XLA
compiles the graph. With them, the same loss would differ between `fit` and `evaluate`.
"""

from __future__ import annotations

import functools

import keras
import numpy as np
from keras import ops

from aezoo.backends.replica_step import place_in_batch

# 4 MiB of float32, which every graph that draws holds as a constant.
TABLE_NUMBERS = 2**20
FEWEST, MOST = 64, 8192  # rows of a table; after the last row the samples get the first again


class EvaluationDraws(keras.random.SeedGenerator):
    """The draws of one layer, which counts the samples of an evaluation.

    It is a seed generator because Keras carries the state of one through the steps of every
    backend. The second number of the state counts the samples.

    Example:

    >>> draws = EvaluationDraws()
    >>> draws.begin()
    >>> both = np.asarray(draws.normal(4, 3))
    >>> draws.begin()
    >>> parts = [np.asarray(draws.normal(count, 3)) for count in (1, 3)]
    >>> bool((np.concatenate(parts) == both).all())
    True
    """

    def __init__(self):
        super().__init__(0)

    def begin(self, first: int = 0) -> None:
        """Makes the next sample the first one, or the one with that number."""
        self.state.assign(np.array([0, first], "uint32"))

    def normal(self, batch, width: int):
        """Standard normal numbers (batch, width)."""
        return self._rows("normal", batch, width)

    def uniform(self, batch, width: int):
        """Numbers (batch, width) between 0 and 1."""
        return self._rows("uniform", batch, width)

    def _rows(self, kind, batch, width):
        table = _table(kind, width)
        # On any replica, a sample has the number that it would have on one device.
        before, all_replicas = place_in_batch(batch)
        first = ops.cast(ops.convert_to_tensor(self.state)[1], "int32")
        numbers = first + before + ops.arange(batch, dtype="int32")
        # Every replica counts the whole batch, so that all begin the next batch at the same number.
        state = ops.stack([ops.zeros_like(first), first + all_replicas])
        self.state.assign(ops.cast(state, self.state.dtype))
        return ops.take(ops.convert_to_tensor(table), numbers % len(table), 0)


@functools.lru_cache(maxsize=32)
def _table(kind: str, width: int) -> np.ndarray:
    rows = int(np.clip(TABLE_NUMBERS // max(1, width), FEWEST, MOST))
    generator = np.random.default_rng(0)
    draw = generator.standard_normal if kind == "normal" else generator.random
    return draw((rows, width), dtype="float32")
