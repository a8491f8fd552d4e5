"""Where data comes from: each source gives splits, counts, arrays and single records."""

from __future__ import annotations

import math

import numpy as np

# Not an argument: training, evaluation and a resumed run must divide the samples in the same way.
VALIDATION_ORDER_SEED = 0


class Source:
    """Samples of one origin, as arrays at once or as records one by one."""

    splits: tuple[str, ...] = ("train",)
    # Completes the sentence of `without_labels`.
    unlabelled = "a source without labels"

    @property
    def samples(self) -> int:
        raise NotImplementedError

    @property
    def bytes(self) -> int:
        """Bytes that `arrays` would need."""
        raise NotImplementedError

    @property
    def names(self) -> list[str]:
        """The name of each sample: its number from 0."""
        return [str(number) for number in range(self.samples)]

    def split(self, name: str) -> Source:
        if name not in self.splits:
            alone = self.splits == ("train",)
            hint = "; validation_split=0.1 makes a 'validation'" if alone else ""
            raise ValueError(
                f"`split` must be one of {', '.join(map(repr, self.splits))}{hint}. "
                f"Received: {name!r}"
            )
        return self._split(name)

    def check_image_size(self, image_size) -> None:
        """Refuses an image size that this source cannot provide."""

    def divided(self, name: str, share: float) -> Source:
        """The "train" or "validation" part, the same samples every time."""
        raise NotImplementedError

    def first(self, limit: int) -> Source:
        raise NotImplementedError

    def readable(self) -> Source:
        """The samples that can be read; the others are named in a warning."""
        return self

    def arrays(self) -> tuple[np.ndarray, np.ndarray | None]:
        raise NotImplementedError

    def records(self, labels: bool):
        raise NotImplementedError

    def without_labels(self) -> ValueError:
        return ValueError(f"`labels` must be False for {self.unlabelled}. Received: labels=True")

    def _split(self, name: str) -> Source:
        return self


def validation_rows(samples: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Which rows are for training and which for validation, each in ascending order."""
    # Rounded up, so that a small share of few samples still leaves one for validation.
    held_out = math.ceil(samples * share)
    if held_out >= samples:
        raise ValueError(
            f"`validation_split` must leave a sample for training. Received: {share!r} "
            f"of {samples} samples"
        )
    # A generator of its own neither depends on the global seed nor changes it. Rows are drawn at
    # random, since class folders are read one class after the other.
    order = np.random.default_rng(VALIDATION_ORDER_SEED).permutation(samples)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
