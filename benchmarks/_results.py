"""Where the benchmarks' programs leave what they measured."""

from __future__ import annotations

import csv
import importlib.metadata
import os
import pathlib

RESULTS = pathlib.Path(__file__).parent / "results"


def write(rows, task, key: str | None = None) -> None:
    """The rows as CSV; the name tells versions, precision and device.

    With a `key`, rows of the file that have other values in that column are kept.
    """
    cores = len(os.sched_getaffinity(0))
    versions = "-".join(
        f"{package}{importlib.metadata.version(package)}" for package in ("tensorflow", "keras")
    )
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{task}-{versions}-float32-cpu{cores}.csv"
    if key and path.exists():
        with path.open(newline="") as file:
            new = {row[key] for row in rows}
            rows = [row for row in csv.DictReader(file) if row[key] not in new] + rows
    temporary = path.with_suffix(".writing")
    with temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)
    print(path)
