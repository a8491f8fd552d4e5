"""Measurements in separate processes, and a callback that times epochs."""

from __future__ import annotations

import json
import subprocess
import sys
import time


def measured(module: str, *arguments, quick: bool = False) -> dict:
    """The last line that `python -m benchmarks.MODULE ARGUMENTS` prints, read as JSON."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    command += ["--quick"] if quick else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[2:])} failed: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def epoch_clock(seconds: list[float]):
    """A callback that appends the seconds of each epoch."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.perf_counter() - self.start)

    return Clock()
