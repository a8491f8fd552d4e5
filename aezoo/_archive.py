"""What a `.keras` file from a stranger may name: parts of Keras and registered ones, no code."""

from __future__ import annotations

import json
import zipfile

import keras

from aezoo._arguments import reason_of

CONFIG = "config.json"
RUNS_CODE = ("__lambda__", "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")


def check_archive(path) -> None:
    """Reads a `.keras` file without building anything of it.

    Raises:
        ValueError: if the file is not whole, or asks for code or for a class that is neither
            Keras's nor registered; nothing of it was imported.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise ValueError(f"{damaged} is damaged")
            found = _foreign(json.loads(archive.read(CONFIG)))
    except Exception as error:  # zipfile, zlib and json have many of their own
        raise ValueError(
            f"`path` must be a whole .keras file ({type(error).__name__}: {reason_of(error)}). "
            f"Received: {path}"
        ) from error
    if found is not None:
        raise ValueError(
            "`path` must be a file of Keras's own classes and of registered ones, which need no "
            f"code from the file; this one asks for {found[:200]}, which was not loaded. "
            f"Received: {path}"
        )


def _foreign(part) -> str | None:
    """The first thing in a configuration that is code, or a class from elsewhere."""
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            name = part.get("class_name")
            if isinstance(name, str) and not _known(part, name):
                return _text(part, name)
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return None


def _known(part, name) -> bool:
    if name in RUNS_CODE:
        return False
    module = part.get("module")
    if module is None or str(module).split(".")[0] in ("keras", "builtins"):
        return True
    registered = part.get("config") if name == "function" else part.get("registered_name")
    return isinstance(registered, str) and (
        keras.saving.get_registered_object(registered) is not None
    )


def _text(part, name) -> str:
    name = str(part.get("config")) if name == "function" else name
    return f"{part['module']}.{name}" if part.get("module") else name
