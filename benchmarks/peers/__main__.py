"""Runs other packages on the same data; see the package `benchmarks.peers`."""

from __future__ import annotations

import importlib.metadata
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import numpy as np
import typer

from benchmarks._results import write

HERE = pathlib.Path(__file__).parent
ENVIRONMENTS = HERE.parent.parent / ".peers"
TRAINED = ("dense_ae", "vae")
DETECTORS = ("AutoEncoder", "IForest", "KNN", "PCA")
NEEDS = {"pythae": ["pythae"], "pyod": ["pyod", "torch", "tqdm"]}  # two that pyod does not name


def python_of(peer: str) -> pathlib.Path:
    """The Python of the peer's environment, which is made first if it is missing."""
    folder = ENVIRONMENTS / peer
    if not (folder / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [folder / "bin" / "pip", "install", "-q", *NEEDS[peer]]
        subprocess.run(install, check=True, capture_output=True, text=True)
        (folder / "done").touch()
    return folder / "bin" / "python"


def version_of(python, package: str) -> str:
    if package == "aezoo":
        return importlib.metadata.version(package)
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()


def run(python, script: str, *arguments) -> dict:
    """The last line that the script prints, read as JSON."""
    command = [python, HERE / script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def train(path, quick: bool, pythons: dict) -> list[dict]:
    epochs, turns = (1, 1) if quick else (5, 3)
    rows = []
    for name in TRAINED:
        found = {peer: [] for peer in ("aezoo", "pythae") if peer in pythons}
        for _ in range(turns):
            for peer, results in found.items():
                results.append(run(pythons[peer], f"{peer}_train.py", path, name, epochs))
                print(peer, name, results[-1], flush=True)
        for peer, results in found.items():
            rows.append(row("train", peer, name, "test MSE", results, pythons))
    return rows


def detect(path, quick: bool, pythons: dict) -> list[dict]:
    rows = []
    for name in DETECTORS if "pyod" in pythons else ():
        try:
            found = run(pythons["pyod"], "pyod_detect.py", path, name, 1 if quick else 10)
        except subprocess.CalledProcessError as error:
            print(f"{name} is left out: {error.stderr.strip().splitlines()[-1]}")
            continue
        rows.append(row("detect", "pyod", name, "mean AUROC", [found], pythons))
        print(rows[-1], flush=True)
    return rows


def row(task, peer, model, figure, results, pythons) -> dict:
    return {
        "task": task,
        "peer": f"{peer} {version_of(pythons[peer], peer)}",
        "model": model,
        "figure": figure,
        "value": f"{statistics.median(result['value'] for result in results):.5f}",
        "seconds": f"{statistics.median(result['seconds'] for result in results):.1f}",
    }


TASKS = {"train": train, "detect": detect}


def main(
    task: str = typer.Option(None, help="train or detect alone; the others' rows are kept."),
    quick: bool = typer.Option(False, help="Digits; only peers that have an environment."),
) -> None:
    import aezoo

    pythons = {"aezoo": pathlib.Path(sys.executable)}
    for peer in NEEDS:
        if quick and not (ENVIRONMENTS / peer / "done").exists():
            print(f"{peer} is left out: it has no environment in {ENVIRONMENTS}")
            continue
        try:
            pythons[peer] = python_of(peer)
        except subprocess.CalledProcessError as error:
            print(f"{peer} is left out: {(error.stderr or str(error)).strip().splitlines()[-1]}")
    name = "digits" if quick else "mnist"
    x, labels = aezoo.data.arrays(name, labels=True)
    test, test_labels = aezoo.data.arrays(name, "test", labels=True)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "data.npz"
        np.savez(path, x=x, labels=labels, test=test, test_labels=test_labels)
        for chosen in [task] if task else TASKS:
            rows = TASKS[chosen](path, quick, pythons)
            if rows:
                write(rows, "peers-quick" if quick else "peers", key="task")


if __name__ == "__main__":
    typer.run(main)
