"""The folder of one training run; every file appears whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import importlib.metadata
import io
import json
import math
import os
import pathlib
import platform
import re
import time
import zipfile

import keras
import numpy as np

from aezoo._version import __version__
from aezoo.inputs.arrays import to_numpy
from aezoo.saving.archive import TRAINING
from aezoo.saving.files import CONFIG, HISTORY, METRICS, MODEL, naming_disk_errors, replacing
from aezoo.training.lock import LOCK, locked

PICTURES = ("reconstructions.png", "history.png")

_CHECKPOINT = re.compile(r"checkpoint-(\d+)\.keras")
# Only names that this class and `replacing` make: other hidden files in the folder are not ours.
_HALF_WRITTEN = re.compile(
    r"\.writable|"
    r"\.writing-\d+-(config\.json|history\.csv|metrics\.json|.*\.keras|.*\.png|\.writable)"
)


class RunFolder:
    """What a training leaves behind: model, configuration, history, metrics, pictures.

    `checkpoint-NNNN.keras` is the model after the last finished epoch of an unfinished run,
    with the state of the training; 0000 is the one before the first epoch. The metrics are
    written last, so a folder that has them is finished.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)

    @contextlib.contextmanager
    def prepared(self, *, resume: bool, overwrite: bool):
        """Makes the folder and holds its lock, or refuses one that holds something already.

        Raises:
            ValueError: if the folder holds something and neither flag permits it, if it
                cannot be written, or if another training writes to it.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"`out` must be a folder. Received: the file {self.path}")
        with contextlib.ExitStack() as held:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(self.path))
                # Only a new file tells: the lock file of a killed process can be opened even where
                # nothing may be added to the folder.
                with replacing(self.path / ".writable") as probe:
                    probe.touch()
                (self.path / ".writable").unlink()
            except OSError as error:
                raise ValueError(
                    f"`out` must be a folder that can be written ({error.strerror}). "
                    f"Received: {self.path}"
                ) from error
            # Under the lock, as the half-written files may be those of another training.
            self._make_room(resume, overwrite)
            yield

    def _make_room(self, resume, overwrite):
        """Removes what a killed run left half-written, and with `overwrite` the whole run."""
        for path in self.path.iterdir():
            if _HALF_WRITTEN.fullmatch(path.name):
                path.unlink(missing_ok=True)
        holds = any(path.name != LOCK for path in self.path.iterdir())
        if holds and resume and not self.exists:
            raise ValueError(f"`out` must be a run folder to resume. Received: {self.path}")
        if holds and not resume and not overwrite:
            what = (
                "a finished run" if self.finished else "an unfinished run, which resume continues"
            )
            raise ValueError(
                "`out` must be a new or empty folder, or overwrite must be given. Received: "
                f"{self.path}, {what if self.exists else 'which holds other files'}"
            )
        if holds and overwrite:
            self._clear()

    @property
    def exists(self) -> bool:
        return (self.path / CONFIG).is_file()

    @property
    def finished(self) -> bool:
        return (self.path / METRICS).is_file()

    @property
    def checkpoint(self) -> tuple[pathlib.Path, int] | None:
        """The newest checkpoint and the number of epochs that it was trained for."""
        found = self._checkpoints()
        return max(found)[::-1] if found else None

    def _checkpoints(self) -> list[tuple[int, pathlib.Path]]:
        """All of them: a kill may leave an older one beside the newest."""
        matches = [(_CHECKPOINT.fullmatch(path.name), path) for path in self.path.iterdir()]
        return [(int(match[1]), path) for match, path in matches if match]

    @property
    def data(self) -> str:
        """The source that the run was trained on, for a command that was given no other."""
        if not self.exists:
            raise ValueError(
                f"`--data` must be given for a file without a run. Received: {self.path}"
            )
        return self.read_config()["data"]

    def read_config(self) -> dict:
        """What `write_json(CONFIG, ...)` wrote: the model, its arguments, data and training."""
        config = self.read_json(CONFIG)
        kinds = {"model": str, "arguments": (dict, type(None)), "data": str, "training": dict}
        for key, kind in kinds.items():
            if not isinstance(config.get(key), kind):
                raise ValueError(
                    f"`{CONFIG}` of a run must hold {', '.join(kinds)} as they were written. "
                    f"Received: {key}={config.get(key)!r} in {self.path}"
                )
        return config

    def save_checkpoint(self, model, epochs: int, state: dict[str, np.ndarray]) -> None:
        """Writes model and state in one file, then removes the checkpoints before it."""
        content = io.BytesIO()
        np.savez(content, **state)
        with self._replacing(f"checkpoint-{epochs:04}.keras") as temporary:
            model.save(temporary)
            # In the same file as the weights, so that a kill leaves no states of another epoch.
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(TRAINING, content.getvalue())
        # Only when the new one is in place: at any moment there is a whole checkpoint.
        self.remove_checkpoints(but=epochs)

    def read_state(self) -> bytes:
        """The state in the newest checkpoint; empty where an earlier version wrote it."""
        with zipfile.ZipFile(self.checkpoint[0]) as archive:
            return archive.read(TRAINING) if TRAINING in archive.namelist() else b""

    @staticmethod
    def unpacked(state: bytes) -> dict[str, np.ndarray]:
        if not state:
            return {}
        # NumPy loads no pickled objects by default, so a stranger's checkpoint runs no code.
        try:
            with np.load(io.BytesIO(state)) as arrays:
                return dict(arrays)
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"`{TRAINING}` in a checkpoint must be as it was written. Received: {error}"
            ) from error

    def save_model(self, model) -> None:
        self._save(model, MODEL)

    def remove_checkpoints(self, but: int | None = None) -> None:
        """Removes all checkpoints, or all but the one of this number of epochs."""
        for epochs, path in self._checkpoints():
            if epochs != but:
                path.unlink()

    def write_json(self, name: str, content: dict) -> None:
        text = json.dumps(content, indent=2, default=str) + "\n"
        with self._replacing(name) as temporary:
            temporary.write_text(text)

    def read_json(self, name: str) -> dict:
        try:
            content = json.loads((self.path / name).read_text())
            if not isinstance(content, dict):
                raise ValueError("no object")
        # RecursionError comes from brackets that are nested thousands deep.
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(
                f"`{name}` of a run must be whole JSON. Received: {self.path}"
            ) from error
        return content

    def append_history(self, row: dict) -> None:
        """Appends one row; a training that is killed keeps every row before it."""
        path = self.path / HISTORY
        new = not path.exists()
        with naming_disk_errors(path), path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
            # On the disk before the checkpoint of the same epoch: `keep_history` needs a row for
            # each epoch of its checkpoint, and drops the others.
            file.flush()
            os.fsync(file.fileno())

    def read_history(self) -> list[dict]:
        """The rows of finished epochs; one that a kill cut off is left out, with all after it.

        Raises:
            ValueError: if the file is not a history.
        """
        path = self.path / HISTORY
        if not path.exists():
            return []
        try:
            with path.open(newline="", encoding="utf-8") as file:
                names, *lines = list(csv.reader(file)) or [[]]
        except (OSError, ValueError, csv.Error) as error:
            raise ValueError(
                f"`{HISTORY}` of a run must be a whole table ({type(error).__name__}). "
                f"Received: {self.path}"
            ) from error
        if names and ("epoch" not in names or "loss" not in names or len(set(names)) < len(names)):
            raise ValueError(
                f"`{HISTORY}` of a run must have columns epoch and loss. "
                f"Received: {', '.join(names)} in {self.path}"
            )
        rows = []
        for line in lines:
            try:
                # Epochs become integers again, as they are in the history of a run in memory.
                values = [int(text) if text.isdecimal() else float(text) for text in line]
            except ValueError:
                break
            row = dict(zip(names, values, strict=False))
            # Epochs are counted without a gap; what does not continue them was cut or damaged.
            if len(line) != len(names) or row["epoch"] != len(rows) + 1:
                break
            rows.append(row)
        return rows

    def keep_history(self, epochs: int) -> list[dict]:
        """Drops the rows after the last checkpoint, and returns those that stay."""
        rows = self.read_history()[:epochs]
        if len(rows) < epochs:
            raise ValueError(
                f"`{HISTORY}` of a run must have a row for each of the {epochs} epochs of its "
                f"checkpoint. Received: {len(rows)} in {self.path}"
            )
        with self._replacing(HISTORY) as temporary, temporary.open("w", newline="") as file:
            if rows:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        if not rows:
            (self.path / HISTORY).unlink()
        return rows

    def save_picture(self, name: str, figure) -> None:
        with self._replacing(name) as temporary:
            figure.savefig(temporary, dpi=100, format="png")

    def _save(self, model, name):
        with self._replacing(name) as temporary:
            # The temporary name has the same suffix, by which Keras chooses the format.
            model.save(temporary)

    def _replacing(self, name):
        return replacing(self.path / name)

    def _clear(self):
        # Only what a run writes; and the metrics first, so that a kill in the middle never leaves
        # a folder that says it is finished.
        for name in (METRICS, CONFIG, HISTORY, MODEL, *PICTURES):
            (self.path / name).unlink(missing_ok=True)
        self.remove_checkpoints()


def names_source(data: str) -> bool:
    """Whether a run's data can be loaded again; data in memory are named by their kind only."""
    # `configuration` writes them as "a ndarray" and the like.
    return not data.startswith("a ")


def configuration(model, data, settings, held_out) -> dict:
    """Everything that is needed to repeat the run."""
    packages = ("keras", "tensorflow", "numpy", "scikit-learn", "tensorflow-datasets")
    versions = {"aezoo": __version__, "python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        **(model.recipe or {"model": model.name, "arguments": None}),
        "data": str(data) if isinstance(data, (str, pathlib.Path)) else f"a {type(data).__name__}",
        "training": settings,
        "held_out": held_out,
        "precision": model.dtype_policy.name,
        "backend": keras.backend.backend(),
        "versions": versions,
    }


class Recorder(keras.callbacks.Callback):
    """Writes the row of each epoch, then its checkpoint.

    Args:
        folder: The `RunFolder`, or None.
        rows: Those of the epochs that a resumed run has finished already.
        patience: The `Patience` of the training, or None.
    """

    def __init__(self, folder, rows, patience=None):
        super().__init__()
        self._folder, self.rows, self._patience = folder, rows, patience

    def on_train_begin(self, logs=None):
        # A run that is killed in its first epoch must start again from the same weights and draws,
        # which without a seed are known nowhere else.
        if self._folder is not None and not self.rows:
            self._save(0)

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
            # `resume` goes back to the last epoch with a finite loss.
            if math.isfinite(row["loss"]):
                self._save(epoch + 1)

    def _save(self, epochs):
        patience = self._patience.state() if self._patience is not None else {}
        self._folder.save_checkpoint(self.model, epochs, draws_of(self.model) | patience)


def draws_of(model) -> dict[str, np.ndarray]:
    """The states of the random generators of training, which a `.keras` file does not hold."""
    return {
        f"generator_{i}": to_numpy(keras.ops.convert_to_tensor(variable))
        for i, variable in enumerate(_generators(model))
    }


def continue_draws(model, state) -> None:
    """Continues the random draws from what `draws_of` found, where a checkpoint holds it."""
    for i, variable in enumerate(_generators(model)):
        if f"generator_{i}" in state:
            variable.assign(state[f"generator_{i}"])


def _generators(model):
    """The states of all random generators of a model, in the order of its layers."""
    # Keras names the variable of every SeedGenerator so, and leaves it out of files (keras#19796).
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


class Patience(keras.callbacks.EarlyStopping):
    """Early stopping with the best weights, which continues in a resumed run.

    Args:
        epochs: Epochs without a better val_loss after which the training stops.
        state: What a checkpoint holds of `state()`; empty for a new run.
    """

    def __init__(self, epochs: int, state: dict[str, np.ndarray]):
        super().__init__(patience=epochs, restore_best_weights=True)
        self._kept = state if "patience" in state else None

    def on_train_begin(self, logs=None):
        # Keras resets its counters here, so the kept ones are put in afterwards.
        super().on_train_begin(logs)
        if self._kept is not None:
            best, wait, best_epoch = self._kept["patience"].tolist()
            # An array holds no None, which stands for no best value yet; NaN does in its place.
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
        """Gives the best weights to a model whose last epoch is over."""
        self.set_model(model)
        self.on_train_begin()
        # Keras restores the best weights here.
        self.on_train_end()


def columns(rows) -> dict[str, list[float]]:
    """The rows as lists by name."""
    names = rows[-1] if rows else {}  # a resumed history may have begun with others
    return {name: [row[name] for row in rows] for name in names if all(name in row for row in rows)}
