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
        # It comes from a file that was written inside of this block, and names that file.
        if "Received: " in str(error):
            raise
        reason = error.strerror or (str(error).splitlines() or ["unknown"])[0]
        named = OSError(f"The disk is full or not writable ({reason}). Received: {path}")
        # OSError of one argument has no `errno`, which tells a full disk from other errors.
        named.errno = error.errno
        raise named from error


def make_folder(path) -> None:
    with naming_disk_errors(path):
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)


class replacing:
    """A temporary path beside `path`, which replaces it if all goes well."""

    def __init__(self, path):
        self._path = pathlib.Path(path)
        # In the same folder, as a file can only be replaced in one step within a file system. The
        # name ends as that of `path`, because Keras chooses the format by the suffix.
        self._temporary = self._path.with_name(f".writing-{os.getpid()}-{self._path.name}")

    def __enter__(self) -> pathlib.Path:
        return self._temporary

    def __exit__(self, kind, error, _):
        try:
            with naming_disk_errors(self._path):
                # The body failed to write the file, which is said in the same sentence.
                if isinstance(error, OSError):
                    raise error
                if kind is None:
                    os.replace(self._temporary, self._path)
        finally:
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)
