"""Measurements in processes of their own, and the clock of their epochs."""

from __future__ import annotations

import json
import subprocess
import sys
import time


def measured(module: str, *arguments, quick: bool = False) -> dict:
    """What `python -m benchmarks.MODULE ARGUMENTS` prints last, a line of JSON."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    command += ["--quick"] if quick else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[2:])} failed: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def epoch_clock(seconds: list[float]):
    """A callback that appends what each epoch takes."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(time.perf_counter() - self.start)

    return Clock()
