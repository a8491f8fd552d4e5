"""Start-up times: imports, the help of the command line, and a first trained model.

    python -m benchmarks.import_time [--quick]

Each program runs in a fresh process, and they take turns; the results are the median and the range
of all turns. The first model is a `dense_ae` that is trained for 20 epochs on the embedded digits,
from a cold start to a saved file.
"""

from __future__ import annotations

import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time

import typer

from benchmarks._results import write

TRAIN = """
import aezoo
model = aezoo.dense_ae((8, 8, 1), latent_dim=16)
model.fit(aezoo.data.load("digits"), epochs=20, verbose=0)
model.save("digits.keras")
"""
PROGRAMS = {
    "python alone": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import tensorflow": ["-c", "import tensorflow"],
    "import keras": ["-c", "import keras"],
    "import aezoo": ["-c", "import aezoo"],
    "from aezoo import dense_ae": ["-c", "from aezoo import dense_ae"],
    "import torch": ["-c", "import torch"],
    "aezoo --help": ["-m", "aezoo", "--help"],
    "aezoo list": ["-m", "aezoo", "list"],
    "20 epochs of digits to a saved file": ["-c", TRAIN],
}


def main(
    turns: int = typer.Option(7, help="How often each has its turn."),
    quick: bool = typer.Option(False, help="One turn of the shortest, to see that it runs."),
) -> None:
    programs = dict(list(PROGRAMS.items())[:2]) if quick else PROGRAMS
    seconds = {name: [] for name in programs}
    for _ in range(1 if quick else turns):
        for name, arguments in programs.items():
            words = name.split()
            if words[0] == "import" and importlib.util.find_spec(words[1]) is None:
                print(f"{name} is skipped: it is not installed")
                continue
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                command = [sys.executable, *arguments]
                subprocess.run(command, cwd=folder, check=True, capture_output=True)
                seconds[name].append(time.perf_counter() - start)
    rows = [
        {
            "what": name,
            "seconds": f"{statistics.median(found):.2f}",
            "fastest": f"{min(found):.2f}",
            "slowest": f"{max(found):.2f}",
        }
        for name, found in seconds.items()
        if found
    ]
    print(*rows, sep="\n")
    write(rows, "import_time-quick" if quick else "import_time")


if __name__ == "__main__":
    typer.run(main)
