"""Test error against the size of the code, for every model that has a code, after equal training.

    python -m benchmarks.code_size [--model NAME] [--quick]

Each model is trained on 20,000 MNIST images, for ten epochs by the recipe of `aezoo.train`; closed
forms are solved once. All other arguments are the defaults of each factory, so the nets differ in
size. The error is that of clean test images, for denoising models too. Models whose codes are grids
have the sizes that grids allow. The numbers in the code of `vq_vae` come from a codebook, so each
of them is worth fewer bits.
"""

from __future__ import annotations

import time

import numpy as np
import typer

from benchmarks._results import save, write

SIZES = (2, 8, 32, 128, 256)
GRIDS = {  # and PCA, which is clipped to [0, 1] as the outputs of the others are
    "masked_ae": ({"patch_size": 7, "embedding_dim": 16},),
    "patch_ae": tuple({"filters": filters} for filters in (2, 8, 32, 64)),
    "vq_vae": tuple({"embedding_dim": dim} for dim in (1, 2, 4)),
    "pca_ae": tuple({"latent_dim": size, "output_activation": "clip"} for size in SIZES),
    "marginalized_ae": ({},),  # its code is the next layer, of the size of the input
}
LIMIT, EPOCHS = 20_000, 10


def settings(name: str, quick: bool):
    """The arguments that give the sizes of the code."""
    if quick:
        return ({"kernel_size": 3} if name == "patch_ae" else {"latent_dim": 8},)
    return GRIDS.get(name, tuple({"latent_dim": size} for size in SIZES))


def with_a_code() -> list[str]:
    """The models whose code has a size; `unet_ae` has none."""
    import aezoo

    models = {name: aezoo.create(name, (28, 28, 1), compile=False) for name in aezoo.list_models()}
    return [name for name, model in models.items() if model.code_size is not None]


def measure(name: str, arguments: dict, quick: bool) -> dict:
    import aezoo

    data, epochs = ("digits", 1) if quick else ("mnist", EPOCHS)
    model = aezoo.create(name, aezoo.data.arrays(data).shape[1:], **arguments, seed=0)
    start = time.perf_counter()
    limit = 300 if quick else LIMIT
    epochs = min(epochs, model.usual_epochs)
    aezoo.train(model, data, epochs, limit=limit, seed=0, verbose=False)
    seconds = time.perf_counter() - start
    error = model.reconstruction_error(aezoo.data.arrays(data, "test")).mean()
    return {
        "model": name,
        "code_size": int(np.prod(model.encoder.output_shape[1:])),
        "test_mse": f"{error:.5f}",
        "parameters": model.count_params(),
        "epochs": epochs,
        "seconds": round(seconds, 1),
    }


def picture(rows) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(8, 5), layout="constrained")
    names = sorted({row["model"] for row in rows})
    colors = plt.get_cmap("tab20")(np.linspace(0, 1, len(names)))
    for name, color in zip(names, colors, strict=True):
        found = sorted((int(r["code_size"]), float(r["test_mse"])) for r in rows
                       if r["model"] == name)  # fmt: skip
        style = {"color": "black", "linewidth": 2.5, "zorder": 3} if name == "pca_ae" else {}
        label = "pca_ae: PCA, clipped" if name == "pca_ae" else name
        axis.plot(*zip(*found, strict=True), marker="o", **{"color": color, **style}, label=label)
    axis.set(xscale="log", yscale="log", xlabel="numbers in the code", ylabel="test MSE")
    axis.set_xticks(SIZES, SIZES)
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    save(figure, "code_size.svg")


def main(
    model: str = typer.Option(None, help="One model alone; the others' rows are kept."),
    quick: bool = typer.Option(False, help="Digits, three models, one size and one epoch."),
) -> None:

    task, rows = "code_size-quick" if quick else "code_size", []
    models = ["dense_ae", "patch_ae", "pca_ae"] if quick else with_a_code()
    for name in [model] if model else models:
        found = [measure(name, arguments, quick) for arguments in settings(name, quick)]
        print(*found, sep="\n", flush=True)
        rows = write(found, task, key="model")
    if not quick:
        picture(rows)


if __name__ == "__main__":
    typer.run(main)
