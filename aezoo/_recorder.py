"""The history of a training: a row an epoch, in memory and in the run folder."""

from __future__ import annotations

import math
import time

import keras
import numpy as np

from aezoo._checks import to_numpy


class Recorder(keras.callbacks.Callback):
    """Writes the row of each epoch, then the checkpoint behind it.

    Args:
        folder: The `RunFolder`, or None.
        rows: Those of the epochs that a resumed run has behind it.
        patience: The `Patience` of the training, or None.
    """

    def __init__(self, folder, rows, patience=None):
        super().__init__()
        self._folder, self.rows, self._patience = folder, rows, patience

    def on_train_begin(self, logs=None):
        if self._folder is not None and not self.rows:
            self._save(0)  # initial weights and draws without a seed are known only here

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
                self._save(epoch + 1)

    def _save(self, epochs):
        patience = self._patience.state() if self._patience is not None else {}
        self._folder.save_checkpoint(self.model, epochs, draws_of(self.model) | patience)


def draws_of(model) -> dict[str, np.ndarray]:
    """Where the random draws of training are, which a `.keras` file does not tell."""
    return {
        f"generator_{i}": to_numpy(keras.ops.convert_to_tensor(variable))
        for i, variable in enumerate(_generators(model))
    }


def continue_draws(model, state) -> None:
    """Random draws go on from what `draws_of` found, where a checkpoint holds it."""
    for i, variable in enumerate(_generators(model)):
        if f"generator_{i}" in state:
            variable.assign(state[f"generator_{i}"])


def _generators(model):
    """The states of all random generators of a model, in the order of its layers."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


class Patience(keras.callbacks.EarlyStopping):
    """Early stopping with the best weights, which goes on in a resumed run.

    Args:
        epochs: Epochs without a better val_loss after which the training stops.
        state: What a checkpoint holds of `state()`; nothing begins anew.
    """

    def __init__(self, epochs: int, state: dict[str, np.ndarray]):
        super().__init__(patience=epochs, restore_best_weights=True)
        self._kept = state if "patience" in state else None

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        if self._kept is not None:
            best, wait, best_epoch = self._kept["patience"].tolist()
            self.best = None if np.isnan(best) else best
            self.wait, self.best_epoch = int(wait), int(best_epoch)
            count = sum(name.startswith("best_") for name in self._kept)
            self.best_weights = [self._kept[f"best_{i}"] for i in range(count)]

    def state(self) -> dict[str, np.ndarray]:
        if self.best_weights is None:
            return {}
        best = np.nan if self.best is None else float(self.best)
        weights = {f"best_{i}": weight for i, weight in enumerate(self.best_weights)}
        return {"patience": np.array([best, self.wait, self.best_epoch]), **weights}

    @property
    def is_over(self) -> bool:
        """Whether the resumed run was about to stop."""
        return self._kept is not None and self._kept["patience"][1] >= self.patience

    def end(self, model) -> None:
        """Gives a model whose last epoch is over the best weights."""
        self.set_model(model)
        self.on_train_begin()
        self.on_train_end()


def columns(rows) -> dict[str, list[float]]:
    """The rows as lists by name."""
    names = rows[-1] if rows else {}  # a resumed history may have begun with others
    return {name: [row[name] for row in rows] for name in names if all(name in row for row in rows)}
