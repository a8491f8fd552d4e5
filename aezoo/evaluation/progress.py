"""The progress of work that has stages, some of which go through data."""

from __future__ import annotations

import contextlib
import sys


class Steps:
    """One bar per stage in a terminal, one line per stage elsewhere, on the standard error stream.

    Args:
        verbose: False shows nothing.

    Example:

    >>> with Steps(verbose=False) as steps:
    ...     list(steps("counting", range(3)))
    [0, 1, 2]
    """

    def __init__(self, verbose: bool = True):
        self._verbose, self._bar, self._task = verbose, None, None

    def __enter__(self):
        if self._verbose and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(file=sys.stderr), transient=True)
            self._bar.start()
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, text: str, batches=None, total: int | None = None):
        """Begins a stage; returns its batches one by one, or a context where there are none."""
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(text, total=total)
        elif self._verbose:
            print(text, file=sys.stderr, flush=True)
        return contextlib.nullcontext() if batches is None else self._each(batches)

    def _each(self, batches):
        for batch in batches:
            # What follows runs when the next batch is asked for, so when this one is done with.
            yield batch
            if self._bar is not None:
                self._bar.advance(self._task)
