"""Time per image of `fit` against the size of the input and the size of the code.

    python -m benchmarks.scaling_sizes [--quick]

The data are MNIST in memory; pixels are repeated or left out to give the size of the input. Each
model has the defaults of its factory, except for the size of the code. The second epoch is
measured, or the second solution of a closed form. Each case runs in its own process.
"""

from __future__ import annotations

import json

import typer

from benchmarks._processes import epoch_clock, measured
from benchmarks._results import save, write

MODELS = ("dense_ae", "conv_ae", "pca_ae")
INPUTS = (14, 28, 56, 112)
CODES = (8, 32, 128, 512)
PIXELS = 8_000_000  # of all images together


def measure(model_name: str, size: int, code: int, quick: bool) -> dict:
    import numpy as np

    import aezoo

    images = aezoo.data.arrays("digits" if quick else "mnist")
    picked = np.arange(size) * images.shape[1] // size
    samples = 500 if quick else min(len(images), PIXELS // size**2)
    x = images[:samples][:, picked][:, :, picked]
    model = aezoo.create(model_name, x.shape[1:], code, seed=0)
    data, seconds = aezoo.data.load(x, batch_size=128, seed=0), []

    for _ in range(2 if model.usual_epochs == 1 else 1):
        model.fit(
            data, epochs=min(2, model.usual_epochs), verbose=0, callbacks=[epoch_clock(seconds)]
        )
    return {
        "microseconds_per_image": round(seconds[-1] / samples * 1e6, 2),
        "parameters": model.count_params(),
        "samples": samples,
    }


def picture(rows) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    labels = ("height and width of the input", "numbers in the code")
    for axis, task, label in zip(axes, ("input", "code"), labels, strict=True):
        for name in MODELS:
            found = [(int(row[task]), float(row["microseconds_per_image"])) for row in rows
                     if (row["task"], row["model"]) == (task, name)]  # fmt: skip
            axis.plot(*zip(*found, strict=True), marker="o", label=name)
        ticks = INPUTS if task == "input" else CODES
        axis.set(xscale="log", yscale="log", xlabel=label)
        axis.set_xticks(ticks, ticks)
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("microseconds per image")
    axes[0].legend(frameon=False)
    save(figure, "scaling_sizes.svg")


def main(
    quick: bool = typer.Option(False, help="Digits and one model, to see that it runs."),
    model: str = typer.Option(None, hidden=True),
    size: int = typer.Option(28, hidden=True),
    code: int = typer.Option(32, hidden=True),
) -> None:
    if model:
        print(json.dumps(measure(model, size, code, quick)))
        return
    cases = [("input", name, size, 32) for name in MODELS for size in INPUTS]
    cases += [("code", name, 28, code) for name in MODELS for code in CODES]
    rows = []
    for task, name, size, code in [("input", "pca_ae", 8, 4)] if quick else cases:
        arguments = ("--model", name, "--size", size, "--code", code)
        found = measured("scaling_sizes", *arguments, quick=quick)
        rows.append({"task": task, "model": name, "input": size, "code": code, **found})
        print(rows[-1], flush=True)
    write(rows, "scaling_sizes-quick" if quick else "scaling_sizes")
    if not quick:
        picture(rows)


if __name__ == "__main__":
    typer.run(main)
