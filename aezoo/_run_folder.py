"""The folder of one training run; every file appears whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import pathlib
import re

CONFIG, HISTORY, METRICS, MODEL = "config.json", "history.csv", "metrics.json", "model.keras"
PICTURES = ("reconstructions.png", "history.png")
_CHECKPOINT = re.compile(r"checkpoint-(\d+)\.keras")


class RunFolder:
    """What a training leaves behind: model, configuration, history, metrics, pictures.

    `checkpoint-NNNN.keras` is the model after the last finished epoch of a run that
    goes on; the metrics are written last, so a folder that has them is finished.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def prepare(self, *, resume: bool, overwrite: bool) -> None:
        """Makes the folder, or refuses one that holds anything.

        Raises:
            ValueError: if the folder holds something and neither flag allows to go on, or it
                cannot be written.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"`out` must be a folder. Received: the file {self.path}")
        holds = self.path.is_dir() and any(self.path.iterdir())
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
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with replacing(self.path / ".writable") as probe:
                probe.touch()
            (self.path / ".writable").unlink()
        except OSError as error:
            raise ValueError(
                f"`out` must be a folder that can be written ({error.strerror}). "
                f"Received: {self.path}"
            ) from error
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
        """The newest checkpoint and the number of epochs behind it."""
        found = [
            (int(match[1]), path)
            for path in self.path.iterdir()
            if (match := _CHECKPOINT.fullmatch(path.name))
        ]
        return max(found)[::-1] if found else None

    @property
    def data(self) -> str:
        """The source that the run was trained on, for a command that was given no other."""
        if not self.exists:
            raise ValueError(
                f"`--data` must be given for a file without a run. Received: {self.path}"
            )
        return self.read_json(CONFIG)["data"]

    def save_checkpoint(self, model, epochs: int) -> None:
        before = self.checkpoint
        self._save(model, f"checkpoint-{epochs:04}.keras")
        if before and before[1] != epochs:
            before[0].unlink()

    def save_model(self, model) -> None:
        self._save(model, MODEL)

    def remove_checkpoint(self) -> None:
        if self.checkpoint:
            self.checkpoint[0].unlink()

    def write_json(self, name: str, content: dict) -> None:
        text = json.dumps(content, indent=2, default=str) + "\n"
        with self._replacing(name) as temporary:
            temporary.write_text(text)

    def read_json(self, name: str) -> dict:
        try:
            return json.loads((self.path / name).read_text())
        except (OSError, ValueError) as error:
            raise ValueError(
                f"`{name}` of a run must be whole JSON. Received: {self.path}"
            ) from error

    def append_history(self, row: dict) -> None:
        """One more row; a training that is killed keeps every row before."""
        path = self.path / HISTORY
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
            file.flush()
            os.fsync(file.fileno())

    def read_history(self) -> list[dict]:
        path = self.path / HISTORY
        if not path.exists():
            return []
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        whole = []
        for row in rows:
            try:
                whole.append(
                    {key: int(text) if text.isdigit() else float(text) for key, text in row.items()}
                )
            except (AttributeError, ValueError):
                break  # a row that was cut off by a kill
        return whole

    def keep_history(self, epochs: int) -> list[dict]:
        """Drops rows behind the last checkpoint, and returns those that stay."""
        rows = self.read_history()[:epochs]
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
            model.save(temporary)

    def _replacing(self, name):
        return replacing(self.path / name)

    def _clear(self):
        for name in (METRICS, CONFIG, HISTORY, MODEL, *PICTURES):
            (self.path / name).unlink(missing_ok=True)
        for path in self.path.iterdir():
            if _CHECKPOINT.fullmatch(path.name):
                path.unlink()


class replacing:
    """A temporary path beside `path`, which takes its place when all went well."""

    def __init__(self, path):
        self._path = pathlib.Path(path)
        self._temporary = self._path.with_name(f".writing-{os.getpid()}-{self._path.name}")

    def __enter__(self) -> pathlib.Path:
        return self._temporary

    def __exit__(self, kind, *_):
        if kind is None:
            os.replace(self._temporary, self._path)
        else:
            self._temporary.unlink(missing_ok=True)
