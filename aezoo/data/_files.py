"""Arrays in files: .npy, .npz and .csv."""

from __future__ import annotations

import csv
import pathlib
import re
import warnings

import numpy as np

from aezoo.data._arrays import ArraySource, from_array
from aezoo.inputs.arguments import reason_of


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
    except Exception as error:
        # zipfile and zlib have errors of their own for broken files.
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
                x, _ = from_array(file[name]).arrays()
                if (name[2:] or "train") in parts:
                    raise ValueError(
                        "`source` must have one array of training data, named x or x_train. "
                        f"Received: both in {path}"
                    )
                if y is not None and y.shape[:1] != x.shape[:1]:
                    raise ValueError(
                        f"`source` must have one label per sample. Received: {labels} of shape "
                        f"{y.shape} for {name} of shape {x.shape} in {path}"
                    )
                parts[name[2:] or "train"] = (x, y)
        # The underscore matters: an array named years holds no labels.
        known = {name for name in names if re.fullmatch(r"[xy](_.*)?", name)}
        alone = sorted(name for name in known if f"x{name[1:]}" not in names)
        if parts and alone:
            raise ValueError(
                "`source` must have inputs for its labels. "
                f"Received: {alone[0]} without x{alone[0][1:]} in {path}"
            )
        others = sorted(names - known)
        if parts and others:
            warnings.warn(
                "Arrays with other names than x, y, x_train and so on are left out: "
                f"{', '.join(others)} in {path}.",
                stacklevel=3,
            )
        if parts:
            # By name, but the training data first: the source starts with the first split.
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
    # The csv module splits the lines itself, hence newline="". Excel begins UTF-8 files with a byte
    # order mark, which would be part of the first name.
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    header = rows.pop(0) if rows and _is_header(rows[0], path) else None
    if not rows:
        raise ValueError(f"`source` must hold at least one row of numbers. Received: {path}")
    names = header or [f"column {i}" for i in range(len(rows[0]))]
    # Of two columns of the same name, the dictionary below would keep only the last one.
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"`source` must have columns of different names. Received: {twice!r} more than once "
            f"in {path}"
        )
    for number, row in enumerate(rows, start=2 if header else 1):
        if len(row) != len(names):
            raise ValueError(
                f"`source` must have {len(names)} columns in each row. "
                f"Received: {len(row)} in row {number} of {path}"
            )
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    # pandas writes its index as a first column without a name.
    if not names[0].strip():
        columns.pop(names[0])
        warnings.warn(
            f"The first column of {path} has no name and is left out, as it looks like an index "
            "that pandas wrote.",
            stacklevel=2,
        )
    labels = [name for name in names if name.strip().lower() in ("label", "target")]
    if len(labels) > 1:
        raise ValueError(
            "`source` must have one column of labels. "
            f"Received: {' and '.join(map(repr, labels))} in {path}"
        )
    y = _labels(columns.pop(labels[0])) if labels else None
    if not columns:
        raise ValueError(f"`source` must have a column of inputs. Received: {path}")
    for name, column in columns.items():
        bad = next((cell for cell in column if not _is_number(cell)), None)
        if bad is not None:
            raise ValueError(
                f"`source` must hold numbers only. Received: {bad!r} in {name!r} of {path}"
            )
    # The loop below names the cell that overflows, which NumPy's warning does not.
    with np.errstate(over="ignore"):
        x = np.array(list(columns.values()), "float32").T
    for row, column in np.argwhere(np.isinf(x)):
        name, cells = list(columns.items())[column]
        # A cell that says inf is read as it is; only a number that float32 cannot hold is refused.
        if "inf" not in cells[row].lower():
            raise ValueError(
                "`source` must hold numbers within the range of float32. "
                f"Received: {cells[row][:20]!r} in {name!r} of {path}"
            )
    return ArraySource({"train": (x, y)})


def _is_header(row, path) -> bool:
    """Whether the first row holds names; a warning says so where it has numbers too."""
    numbers = [_is_number(cell) for cell in row]
    # Two columns and more: a single 0 is more likely a sample than the name of a column.
    counted = len(row) > 1 and row == [str(number) for number in range(len(row))]
    if not any(numbers):
        return True
    if all(numbers) and not counted:
        return False
    # Among numbers, a cell such as 1_0 is a mistake in a sample rather than a name.
    likely = next((cell for cell in row if "_" in cell and _is_number(cell.replace("_", ""))), None)
    if likely is not None:
        raise ValueError(
            f"`source` must hold numbers only. Received: {likely!r} in the first row of {path}"
        )
    # An empty first cell means that pandas wrote an index; the row is a header then, and the caller
    # warns of the index.
    if row[0].strip():
        reason = "pandas writes such headers" if counted else "not all of its cells are numbers"
        warnings.warn(
            f"The first row of {path} is read as a header, as {reason}; put a row of names "
            "above it if it is a sample.",
            stacklevel=3,
        )
    return True


def _labels(column) -> np.ndarray:
    """Labels as int64 where all are integers, else as the texts that they are; "" if missing."""
    cells = ["" if cell.strip().lower() == "nan" else cell.strip() for cell in column]
    try:
        numbers = np.array([int(cell) for cell in cells], "int64")
    except (ValueError, OverflowError):
        return np.array(cells)
    # As texts where a number would not be written the same way: 07 and 7 are different names.
    return numbers if [str(number) for number in numbers] == cells else np.array(cells)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    # Python reads 1_0 as 10, which nobody means in a table.
    return "_" not in text
