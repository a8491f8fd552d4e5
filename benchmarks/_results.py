"""How the benchmarks store their results."""

from __future__ import annotations

import contextlib
import csv
import datetime
import importlib.metadata
import operator
import os
import pathlib
import platform
import shlex
import sys
import tempfile

LOAD_BEFORE = os.getloadavg()[0]
RESULTS = pathlib.Path(__file__).parent / "results"


def path_of(task: str) -> pathlib.Path:
    """The file of a task; its name states versions, precision and device.

    Results of a quick mode go to the temporary folder, as nobody should quote them.
    """
    cores = len(os.sched_getaffinity(0))
    versions = "-".join(
        f"{package}{importlib.metadata.version(package)}" for package in ("tensorflow", "keras")
    )
    folder = pathlib.Path(tempfile.gettempdir()) if task.endswith("-quick") else RESULTS
    return folder / f"{task}-{versions}-float32-cpu{cores}.csv"


def circumstances() -> dict:
    """Where, when and by which command a row was measured, and the load of the minute before."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):  # a machine that tells it otherwise
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), cpu)
    started = pathlib.Path(sys.argv[0])
    program = (
        ["python", "-m", started.parent.name] if started.stem == "__main__" else [started.name]
    )
    if "KERAS_BACKEND" in os.environ:
        program.insert(0, f"KERAS_BACKEND={os.environ['KERAS_BACKEND']}")
    return {
        "command": shlex.join([*program, *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "cpu": f"{cpu}, {len(os.sched_getaffinity(0))} cores",
        "load": f"{LOAD_BEFORE:.1f}",
    }


def write(rows, task, key: str | tuple[str, ...] = ()) -> list[dict]:
    """Writes the rows as CSV; returns all rows that the file holds now.

    Each row says when, where and by which command it was measured. With a `key`, which is one or
    more columns, rows of the file that have other values in these columns are kept.
    """
    about = circumstances()
    rows = [{**row, **about} for row in rows]
    RESULTS.mkdir(exist_ok=True)
    path = path_of(task)
    if key and path.exists():
        identity = operator.itemgetter(*([key] if isinstance(key, str) else key))
        with path.open(newline="") as file:
            new = {identity(row) for row in rows}
            rows = [row for row in csv.DictReader(file) if identity(row) not in new] + rows
    temporary = path.with_suffix(".writing")
    with temporary.open("w", newline="") as file:
        names = dict.fromkeys(name for row in rows for name in row)
        writer = csv.DictWriter(file, list(names), restval="")
        writer.writeheader()
        writer.writerows(rows)
    temporary.replace(path)
    print(path)
    return rows


def save(figure, name: str, quick: bool = False) -> None:
    """Saves a picture next to the results, the same to the byte each time; not in quick mode."""
    import matplotlib

    if quick:
        return
    with matplotlib.rc_context({"svg.hashsalt": "aezoo"}):
        figure.savefig(RESULTS / name, metadata={"Date": None})
