"""Runs the first three programs of this project, and its answers; see the package."""

from __future__ import annotations

import importlib
import inspect
import json
import time

import numpy as np
import typer

from benchmarks._processes import measured
from benchmarks._results import write
from benchmarks.starting_point import answers, keras_fit, numpy_loop, torch_loop

PROGRAMS = {  # with the package that is imported before the clock runs
    "NumPy by hand, with its two mistakes": (numpy_loop.train_with_mistakes, "numpy"),
    "NumPy by hand": (numpy_loop.train, "numpy"),
    "Keras fit(X, X)": (keras_fit.train, "keras"),
    "PyTorch loop": (torch_loop.train, "torch"),
    "aezoo fit": (answers.fit, "aezoo"),
    "aezoo pca_ae": (answers.pca, "aezoo"),
    "aezoo random_feature_ae": (answers.random_features, "aezoo"),
}
PARTS = {  # what else a user has to write
    numpy_loop.train: (numpy_loop.sigmoid, numpy_loop.gradients),
    numpy_loop.train_with_mistakes: (numpy_loop.sigmoid, numpy_loop.gradients, numpy_loop.train),
}
GOALS = (0.02, 0.01, 0.005)


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Training and test samples, flat, in [0, 1]."""
    if name == "uniform noise":
        generator = np.random.default_rng(0)
        return tuple(generator.random((1000, 784), "float32") for _ in range(2))
    import aezoo

    parts = [aezoo.data.arrays(name, part) for part in ("train", "test")]
    return tuple(part.reshape(len(part), -1) / np.float32(255) for part in parts)


def measure(program, name, epochs) -> dict:
    """Seconds of training until each goal and in total, and the final test error."""
    train, package = PROGRAMS[program]
    importlib.import_module(package)
    x, test = data(name)
    errors, seconds, begun = [], [], time.perf_counter()

    def on_epoch(reconstruct):
        nonlocal begun
        seconds.append(time.perf_counter() - begun)
        errors.append(float(np.square(reconstruct(test) - test).mean()))
        begun = time.perf_counter()

    train(x, epochs, on_epoch)
    total = np.cumsum(seconds)
    found = {"program": program, "data": name, "epochs": len(errors)}
    found["seconds_per_epoch"] = f"{np.median(seconds[1:] or seconds):.4f}"
    for goal in GOALS:
        reached = [when for when, error in zip(total, errors, strict=True) if error <= goal]
        found[f"seconds_to_{goal}"] = f"{reached[0]:.2f}" if reached else ""
    found["seconds"], found["test_mse"] = f"{total[-1]:.2f}", f"{errors[-1]:.5f}"
    found["lines"] = lines_of(train, *PARTS.get(train, ()))
    return found


def lines_of(*functions) -> int:
    """The number of lines of these functions, without docstrings and empty lines."""
    code = "".join(inspect.getsource(function) for function in functions)
    for function in functions:
        code = code.replace(f'"""{function.__doc__}"""', "")
    return sum(bool(line.strip()) for line in code.splitlines())


def main(
    quick: bool = typer.Option(False, help="Digits and two epochs, to see that it runs."),
    program: str = typer.Option(None, hidden=True),
    name: str = typer.Option(None, hidden=True),
    epochs: int = typer.Option(100, help="Epochs of the programs that have some."),
    only: str = typer.Option("", help="Programs whose name has this; the others' rows are kept."),
) -> None:
    if program:  # in a process of its own, so that no library warms another's caches
        print(json.dumps(measure(program, name, epochs)))
        return
    rows = []
    for name in ("digits",) if quick else ("uniform noise", "mnist"):
        for program in (program for program in PROGRAMS if only in program):
            arguments = ("--program", program, "--name", name, "--epochs", 2 if quick else epochs)
            try:
                rows.append(measured("starting_point", *arguments))
            except RuntimeError as error:
                print(f"{program} is left out: {str(error).strip().splitlines()[-1]}")
                continue
            print(rows[-1], flush=True)
    write(rows, "starting_point-quick" if quick else "starting_point", key="program")


if __name__ == "__main__":
    typer.run(main)
