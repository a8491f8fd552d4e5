"""Files that appear whole or not at all, and their names in a run folder."""

from __future__ import annotations

import contextlib
import os
import pathlib

CONFIG, HISTORY, METRICS, MODEL = "config.json", "history.csv", "metrics.json", "model.keras"


@contextlib.contextmanager
def naming_disk_errors(path):
    """Says in one sentence that a file could not be written."""
    try:
        yield
    except OSError as error:
        if "Received: " in str(error):
            raise
        reason = error.strerror or str(error).splitlines()[0]
        named = OSError(f"The disk must have room and be writable ({reason}). Received: {path}")
        named.errno = error.errno
        raise named from error


def make_folder(path) -> None:
    with naming_disk_errors(path):
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)


class replacing:
    """A temporary path beside `path`, which takes its place when all went well."""

    def __init__(self, path):
        self._path = pathlib.Path(path)
        self._temporary = self._path.with_name(f".writing-{os.getpid()}-{self._path.name}")

    def __enter__(self) -> pathlib.Path:
        return self._temporary

    def __exit__(self, kind, error, _):
        try:
            with naming_disk_errors(self._path):
                if isinstance(error, OSError):
                    raise error
                if kind is None:
                    os.replace(self._temporary, self._path)
        finally:
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)
