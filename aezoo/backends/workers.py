"""What the processes of one training tell each other; it knows only how to sum over them."""

from __future__ import annotations

import contextlib
import io
import json

import numpy as np

from aezoo.inputs.arrays import to_numpy


class Alone:
    """The workers of a training with only one process."""

    chief = True
    workers = 1
    together = scope = staticmethod(contextlib.nullcontext)

    def from_chief(self, value):
        return value

    def same_seed(self, seed):
        return seed

    def same_state(self, model):
        pass


class Workers:
    """Communication between the workers of a `Distribution`; every worker must make each call.

    What one worker has goes to the others as bytes, which are summed with zeros of the others.
    """

    @property
    def workers(self) -> int:
        return self.replicas // self.local

    @property
    def worker(self) -> int:
        return self.first // self.local

    @property
    def chief(self) -> bool:
        """Whether this worker is the one that writes files."""
        return self.worker == 0

    @contextlib.contextmanager
    def together(self):
        """What only the chief does: an error of the chief is an error on every worker.

        Raises:
            ValueError: what the chief raised, and inside the scope of the strategy, where making a
                variable would wait for the other workers.
        """
        if self.workers > 1 and self.in_scope:
            raise ValueError(
                "`aezoo.train` must be called outside strategy.scope(), which is only for making "
                f"the model. Received: the scope of {self.strategy}"
            )
        message = None
        try:
            yield
        except ValueError as error:
            message = str(error)
            raise
        finally:
            # Sent after success too: the other workers wait here for what the chief has to say.
            found = self.from_chief(message)
            if found is not None and not self.chief:
                raise ValueError(found)

    def same_seed(self, seed: int | None) -> int | None:
        """The seed of the chief; without one and with several workers, one that the chief draws."""
        if self.workers == 1:
            return seed
        drawn = int(np.random.default_rng().integers(2**31))
        return self.from_chief(drawn if seed is None else seed)

    def same_state(self, model) -> None:
        """Weights and optimizer of the chief, on every worker."""
        if self.workers == 1:
            return
        variables = [*model.weights, *model.optimizer.variables]
        content = io.BytesIO()
        np.savez(content, *map(to_numpy, variables))
        with np.load(io.BytesIO(self._sent(content.getvalue(), 0))) as arrays:
            for variable, name in zip(variables, arrays.files, strict=True):
                variable.assign(arrays[name])

    def from_chief(self, value):
        """What the chief has, on every worker: anything that JSON can hold."""
        if self.workers == 1:
            return value
        # JSON and not pickle, which would run code that comes over the network.
        return json.loads(self._sent(json.dumps(value).encode(), 0))

    def rows(self, blocks):
        """The rows of each block that this worker takes, where it takes any."""
        for block in blocks:
            mine = np.array_split(block, self.workers)[self.worker]
            if len(mine):
                yield mine

    def merged(self, sums):
        """The sums of all workers, merged in the same order on each."""
        # Sums of floats depend on their order, and all workers must solve the same equations.
        if self.workers == 1:
            return sums
        content = io.BytesIO()
        np.savez(content, **sums.state())
        total = None
        for worker in range(self.workers):
            with np.load(io.BytesIO(self._sent(content.getvalue(), worker))) as state:
                other = type(sums).from_state(state)
            if total is None:
                total = other
            else:
                total.merge(other)
        return total

    def _sent(self, content: bytes, worker: int) -> bytes:
        """The bytes that one worker has, on every worker."""
        # The others do not know the length, and a collective sum needs equal shapes.
        mine = self.worker == worker
        length = int(self.sum(np.array(len(content) if mine else 0)))
        padded = np.zeros(-(-length // 4) * 4, "uint8")
        # Collective operations sum int32 and no bytes; one addend only is not 0, so none overflows.
        if mine:
            padded[:length] = np.frombuffer(content, "uint8")
        return self.sum(padded.view("int32")).tobytes()[:length]
