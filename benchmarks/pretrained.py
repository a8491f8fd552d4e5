"""Makes the shipped weights from finished runs of their recipes, and measures them.

    aezoo train --recipe conv_ae.mnist
    python -m benchmarks.pretrained [--runs runs] [--name conv_ae.mnist]
    python -m benchmarks.pretrained --measure     measures the shipped weights again

Each folder `aezoo/pretrained/NAME` gets `weights.npz` (float16) and `card.json`. The metrics on the
card are those of the weights as they are shipped: on the test split, next to PCA with the same code
size, and on data that come with scikit-learn, so that a test can check them anywhere.
"""

from __future__ import annotations

import importlib.metadata
import json
import pathlib

import numpy as np
import typer
from PIL import Image

from benchmarks._results import write

DATA = {
    "mnist": {
        "name": "MNIST, 60,000 training images",
        "licence": "CC BY-SA 3.0, Y. LeCun, C. Cortes",
        "preprocessing": "none: uint8 pixels, which the model scales to [0, 1]",
    },
    "cifar10_jpeg": {
        "name": "CIFAR-10 stored as JPEG, 50,000 training images",
        "licence": "no formal licence; A. Krizhevsky, 2009, asks to be cited",
        "preprocessing": "none: uint8 pixels, which the model scales to [0, 1]",
    },
}
SHOWN = ("name", "model", "mse", "psnr", "pca_mse", "pca_psnr", "affine_rank_mse",
         "affine_rank_psnr", "affine_mse", "affine_psnr", "linear_probe", "pca_linear_probe",
         "probe_100_labels", "pca_probe_100_labels", "kilobytes")  # fmt: skip


def embedded(shape) -> np.ndarray:
    """Images (samples, *shape), uint8, that come with scikit-learn.

    For one channel, these are the digits with a margin of a seventh; for three channels, pieces of
    the two sample photographs.
    """
    import aezoo

    height, width, channels = shape
    if channels == 1:
        margins = height // 7, width // 7
        size = (width - 2 * margins[1], height - 2 * margins[0])
        digits = aezoo.data.arrays("digits", "test")[..., 0]
        large = np.stack([np.asarray(Image.fromarray(image).resize(size)) for image in digits])
        return np.pad(large, [(0, 0), *((margin, margin) for margin in margins)])[..., None]
    from sklearn.datasets import load_sample_images

    pieces = []
    for image in load_sample_images().images:
        rows, columns = image.shape[0] // height, image.shape[1] // width
        cut = image[: rows * height, : columns * width]
        cut = cut.reshape(rows, height, columns, width, channels).swapaxes(1, 2)
        pieces.append(cut.reshape(-1, *shape))
    return np.concatenate(pieces)


def figures_of(model, data: str) -> dict:
    """The metrics of the card, measured."""
    import aezoo
    from aezoo.training.baselines import Baselines, measure

    train, test = aezoo.data.load(data, shuffle=False), aezoo.data.load(data, "test")
    found = measure(model, test, Baselines(model, train))
    figures = {"mse": found["mse"], "psnr": found["psnr"]}
    for other in ("pca", "noisy", "affine_rank", "affine"):
        if other in found:
            figures |= {f"{other}_{key}": found[other][key] for key in ("mse", "psnr")}
    figures["embedded_mse"] = float(
        model.reconstruction_error(embedded(model.input_shape[1:])).mean()
    )
    return {key: round(value, 6) for key, value in figures.items()}


def probes_of(model, data: str) -> dict:
    """Linear probes on the code and on PCA, with all labels and with 100."""
    import aezoo
    from aezoo import transfer

    train, test = (aezoo.data.arrays(data, split, labels=True) for split in ("train", "test"))
    curve = transfer.label_curve(model, train, test, (10,), seeds=5, steps=1)
    few = {row["method"]: row["accuracy"] for row in curve.rows}
    pca = aezoo.pca_ae(model.input_shape[1:], model.encoder.output_shape[1])
    pca.fit(train[0], verbose=0)
    return {
        "linear_probe": transfer.linear_probe(model, train, test).accuracy,
        "pca_linear_probe": transfer.linear_probe(pca, train, test).accuracy,
        "probe_100_labels": round(few["linear probe"], 4),
        "pca_probe_100_labels": round(few["PCA, linear probe"], 4),
    }


def make(run: pathlib.Path) -> dict:
    """Makes the pretrained folder of one run; returns a row of the results."""
    import aezoo
    from aezoo.cli.recipe_files import read_recipe
    from aezoo.saving.pretrained import SHIPPED

    name = run.name
    recipe = read_recipe(name)
    config = json.loads((run / "config.json").read_text())
    about = {
        "about": recipe["about"],
        "data": DATA[recipe["data"]],
        "command": f"aezoo train --recipe {name}",
        "seed": recipe["training"]["seed"],
        "trained_with": config["versions"],
    }
    folder, trained = SHIPPED / name, aezoo.load_model(run)
    trained.recipe = {"model": config["model"], "arguments": config["arguments"]}
    aezoo.save_pretrained(trained, folder, overwrite=True, **about)
    return measure_again(name, recipe)


def measure_again(name: str, recipe: dict) -> dict:
    """Measures shipped weights and writes the metrics to their card; returns a results row."""
    import aezoo
    from aezoo.saving.pretrained import SHIPPED

    folder = SHIPPED / name
    model = aezoo.create(recipe["model"], weights=name.split(".", 1)[1])
    figures = {**figures_of(model, recipe["data"]), **probes_of(model, recipe["data"])}
    card = json.loads((folder / "card.json").read_text())
    card["figures"] = figures
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    row = {"name": name, "model": recipe["about"], **figures}
    row["kilobytes"] = round(card["bytes"] / 1000)
    print(row, flush=True)
    return {key: row.get(key, "") for key in SHOWN}


def main(
    runs: str = typer.Option("runs", help="The folder of the runs."),
    name: str = typer.Option(None, help="One alone; the others' rows are kept."),
    measure: bool = typer.Option(False, "--measure", help="Measure the shipped weights again."),
) -> None:
    print("keras", importlib.metadata.version("keras"))
    if measure:
        from aezoo.cli.recipe_files import list_recipes, read_recipe

        for shipped in list_recipes():
            if name in (None, shipped):
                write([measure_again(shipped, read_recipe(shipped))], "pretrained", key="name")
        return
    found = sorted(path.parent for path in pathlib.Path(runs).glob("*.*/metrics.json"))
    for run in found:
        if name in (None, run.name):
            write([make(run)], "pretrained", key="name")


if __name__ == "__main__":
    typer.run(main)
