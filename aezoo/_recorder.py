"""The history of a training: a row an epoch, in memory and in the run folder."""

from __future__ import annotations

import math
import time

import keras


class Recorder(keras.callbacks.Callback):
    """Writes the row of each epoch, then the checkpoint behind it."""

    def __init__(self, folder, rows):
        super().__init__()
        self._folder = folder
        self.rows = rows

    def on_epoch_begin(self, epoch, logs=None):
        self._begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self._begun
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        row["seconds"] = round(seconds, 4)
        self.rows.append(row)
        if self._folder is not None:
            self._folder.append_history(row)
            if math.isfinite(row["loss"]):
                self._folder.save_checkpoint(self.model, epoch + 1)


def columns(rows) -> dict[str, list[float]]:
    """The rows as lists by name."""
    names = rows[-1] if rows else {}  # a resumed history may have begun with others
    return {name: [row[name] for row in rows] for name in names if all(name in row for row in rows)}
