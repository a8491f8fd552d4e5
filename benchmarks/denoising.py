"""Denoising against kind and level of the noise, also at levels that a model was not trained on.

    python -m benchmarks.denoising [--quick]

Each `denoising_ae` has its defaults and a 64-d code, and is trained for ten epochs on 20,000 MNIST
images by the recipe of `aezoo.train`. The results are the PSNR in decibels of 2,000 corrupted test
images, and of the same images after denoising by

- each model,
- PCA with a code of the same size, fitted on clean images,
- the best affine maps from corrupted to clean images, fitted separately to each kind and level of
  noise: one whose rank is the size of the code, and one of any rank.
"""

from __future__ import annotations

import keras
import numpy as np
import typer

from benchmarks._results import save, write

TRAINED = (
    ("gaussian", 0.25),
    ("gaussian", 0.5),
    ("gaussian", 0.75),
    ("masking", 0.5),
    ("salt_and_pepper", 0.25),
)
LEVELS = {
    "gaussian": (0.1, 0.25, 0.5, 0.75, 1.0),
    "masking": (0.1, 0.25, 0.5, 0.75),
    "salt_and_pepper": (0.1, 0.25, 0.5),
}
LATENT_DIM = 64


def corrupted(clean, kind: str, level: float, seed: int = 0) -> np.ndarray:
    """Corrupted images, with the same noise for every model."""
    from aezoo.layers.corruption import make_corruption

    layer = make_corruption(kind, level, True, seed)
    return keras.ops.convert_to_numpy(layer(clean, training=True))


def psnr(clean, found) -> float:
    """The PSNR of the mean squared error over all images, in decibels."""
    return float(-10 * np.log10(np.square(clean - found).mean()))


def reconstructions(data: str, quick: bool):
    """Yields pairs of a name and a function that reconstructs: each model, PCA, the identity."""
    import aezoo

    shape = aezoo.data.arrays(data).shape[1:]
    size, epochs, limit = (16, 1, 300) if quick else (LATENT_DIM, 10, 20_000)
    for kind, level in TRAINED[:1] if quick else TRAINED:
        model = aezoo.denoising_ae(shape, size, corruption=kind, level=level, seed=0)
        aezoo.train(model, data, epochs, limit=limit, seed=0, verbose=False)
        yield f"denoising_ae, {kind} {level}", model.reconstruct
    pca = aezoo.pca_ae(shape, size, output_activation="clip")
    pca.fit(aezoo.data.load(data, limit=limit), verbose=0)
    yield f"PCA of {size}", pca.reconstruct
    yield "nothing", lambda images: images


def affine_maps(clean, tests, size: int):
    """From (name, kind, level) to the test images, denoised by the best affine maps."""
    import aezoo
    from aezoo.training.baselines import Baselines

    names, found = (
        {"affine_rank": f"best affine map of rank {size}", "affine": "best affine map"},
        {},
    )
    for (kind, level), images in tests.items():
        model = aezoo.denoising_ae(clean.shape[1:], size, corruption=kind, level=level, seed=0)
        outputs = Baselines(model, aezoo.data.load(clean, shuffle=False)).reconstruct(images)
        found |= {(name, kind, level): outputs[key] for key, name in names.items()}
    return found


def picture(rows) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(LEVELS), figsize=(12, 3.8), sharey=True, layout="constrained"
    )
    for axis, kind in zip(axes, LEVELS, strict=True):
        for name in dict.fromkeys(row["trained_on"] for row in rows):
            found = [(float(row["level"]), float(row["psnr"])) for row in rows
                     if (row["trained_on"], row["noise"]) == (name, kind)]  # fmt: skip
            styles = {
                "PCA": {"color": "black"},
                "best affine map of rank": {"color": "black", "linestyle": "-."},
                "best affine map": {"color": "black", "linestyle": ":"},
                "nothing": {"color": "gray", "linestyle": "--"},
            }
            style = next((styles[each] for each in styles if name.startswith(each)), {})
            axis.plot(*zip(*found, strict=True), marker="o", label=name, **style)
        axis.set(title=kind.replace("_", " "), xlabel="level", xlim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("PSNR, dB")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  frameon=False)  # fmt: skip
    save(figure, "denoising.svg")


def main(
    quick: bool = typer.Option(False, help="Digits, one model and one epoch."),
) -> None:
    import aezoo

    data = "digits" if quick else "mnist"
    clean = aezoo.data.arrays(data, "test")[:2000].astype("float32") / 255
    tests = {
        (kind, level): corrupted(clean, kind, level)
        for kind, levels in LEVELS.items()
        for level in levels
    }
    rows = []
    for name, reconstruct in reconstructions(data, quick):
        for (kind, level), images in tests.items():
            found = f"{psnr(clean, reconstruct(images)):.2f}"
            rows.append({"trained_on": name, "noise": kind, "level": level, "psnr": found})
            print(rows[-1], flush=True)
    train = aezoo.data.arrays(data, limit=300 if quick else 20_000).astype("float32") / 255
    maps = affine_maps(train, tests, 16 if quick else LATENT_DIM)
    for (name, kind, level), outputs in sorted(maps.items(), key=lambda item: item[0][0]):
        found = f"{psnr(clean, outputs):.2f}"
        rows.append({"trained_on": name, "noise": kind, "level": level, "psnr": found})
        print(rows[-1], flush=True)
    write(rows, "denoising-quick" if quick else "denoising")
    if not quick:
        picture(rows)


if __name__ == "__main__":
    typer.run(main)
