"""Arrays in files: .npy, .npz and .csv."""

from __future__ import annotations

import csv
import pathlib

import numpy as np

from aezoo._arguments import reason_of
from aezoo.data._sources import ArraySource, from_array


def read_file(path: pathlib.Path) -> ArraySource:
    readers = {".npy": _from_npy, ".npz": _from_npz, ".csv": _from_csv}
    if path.suffix.lower() not in readers:
        raise ValueError(
            f"`source` must be a .npy, .npz or .csv file, or a folder of images. Received: {path}"
        )
    try:
        return readers[path.suffix.lower()](path)
    except (OSError, EOFError, KeyError, SyntaxError, ValueError) as error:
        if "Received: " in str(error):
            raise
        reason = reason_of(error, length=None)
        raise ValueError(
            f"`source` must be a whole {path.suffix} file of numbers ({reason}). Received: {path}"
        ) from error
    except Exception as error:  # zipfile and zlib have errors of their own for broken files
        raise ValueError(
            f"`source` must be a whole {path.suffix} file ({type(error).__name__}: {error}). "
            f"Received: {path}"
        ) from error


def _from_npy(path):
    return from_array(np.load(path, allow_pickle=False))


def _from_npz(path):
    """Arrays named x_train, y_train, x_test, y_test or x, y, or one array of any name."""
    with np.load(path, allow_pickle=False) as file:
        names = set(file.files)
        parts = {}
        for name in sorted(names):
            if name == "x" or name.startswith("x_"):
                labels = "y" + name[1:]
                y = file[labels] if labels in names else None
                parts[name[2:] or "train"] = (from_array(file[name]).arrays()[0], y)
        if parts:
            order = sorted(parts, key=lambda part: (part != "train", part))
            return ArraySource({part: parts[part] for part in order}, order[0])
        if len(names) == 1:
            return from_array(file[names.pop()])
    raise ValueError(
        "`source` must be an .npz file with one array, or arrays named x, or x_train and x_test. "
        f"Received: {path} with {', '.join(sorted(names)) or 'no array'}"
    )


def _from_csv(path):
    """Columns of numbers; a column named label or target becomes the labels."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if not rows:
        raise ValueError(f"`source` must hold at least one row. Received: {path}")
    header = None if all(_is_number(cell) for cell in rows[0]) else rows.pop(0)
    names = header or [f"column {i}" for i in range(len(rows[0]) if rows else 0)]
    if not rows:
        raise ValueError(f"`source` must hold at least one row of numbers. Received: {path}")
    for number, row in enumerate(rows, start=2 if header else 1):
        if len(row) != len(names):
            raise ValueError(
                f"`source` must have {len(names)} columns in each row. "
                f"Received: {len(row)} in row {number} of {path}"
            )
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    label = next((name for name in names if name.strip().lower() in ("label", "target")), None)
    y = None if label is None else np.array(columns.pop(label))
    for name, column in columns.items():
        bad = next((cell for cell in column if not _is_number(cell)), None)
        if bad is not None:
            raise ValueError(
                f"`source` must hold numbers only. Received: {bad!r} in {name!r} of {path}"
            )
    x = np.array(list(columns.values()), "float32").T
    return ArraySource({"train": (x, y)})


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
