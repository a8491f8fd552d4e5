"""How well `unet_ae` removes noise: from MNIST, and from photographs next to published numbers.

    python -m benchmarks.unet [--task mnist|photographs] [--minutes 55] [--quick]

mnist: the noise has a standard deviation of .5, and the noisy images are clipped to [0, 1]. The
model is trained on all training images by the recipe of `aezoo.train`. The PSNR is that of the mean
error over 10,000 test images, next to the best affine map.

photographs: the noise has a standard deviation of 25/255 and is not clipped, as in the published
numbers. The model is trained for the given time on 64x64 patches of the 400 training images of Chen
and Pock (2016), turned and mirrored. The PSNR is the mean over the 68 images of BSD68 (BM3D 28.57,
DnCNN 29.23). Both sets are read from the folder in the environment variable PHOTOGRAPHS, which
holds `train400` and `bsd68`.
"""

from __future__ import annotations

import os
import pathlib
import time

import numpy as np
import typer

from benchmarks._results import write
from benchmarks.denoising import corrupted, psnr

SIGMA = 25 / 255
PATCH = 64


def mnist(quick: bool, epochs: int) -> list[dict]:
    import aezoo
    from aezoo.training.baselines import Baselines

    data, epochs = ("digits", 1) if quick else ("mnist", epochs)
    options = {"filters": (8, 16)} if quick else {}
    clean = aezoo.data.arrays(data, "test").astype("float32") / 255
    noisy = corrupted(clean, "gaussian", 0.5)
    model = aezoo.unet_ae(clean.shape[1:], level=0.5, seed=0, **options)
    start = time.perf_counter()
    aezoo.train(model, data, epochs, batch_size=64, seed=0, verbose=not quick)
    seconds = time.perf_counter() - start
    limit = {"limit": 20_000}
    affine = Baselines(model, aezoo.data.load(data, shuffle=False, **limit)).reconstruct(noisy)
    about = {"task": "MNIST, sigma 0.5, clipped", "images": len(clean)}
    return [
        {**about, "model": "noisy", "psnr": f"{psnr(clean, noisy):.2f}"},
        {**about, "model": "best affine map", "psnr": f"{psnr(clean, affine['affine']):.2f}"},
        {
            **about,
            "model": "unet_ae",
            "psnr": f"{psnr(clean, model.reconstruct(noisy)):.2f}",
            "epochs": epochs,
            "minutes": f"{seconds / 60:.1f}",
            "parameters": model.count_params(),
        },
    ]


def patches(images):
    """An endless dataset of random patches (16, 64, 64, 1), turned and mirrored."""
    import tensorflow as tf

    def cut(image):
        patch = tf.image.random_crop(image, (PATCH, PATCH, 1))
        patch = tf.image.rot90(patch, tf.random.uniform((), 0, 4, "int32"))
        return tf.image.random_flip_left_right(patch)

    dataset = tf.data.Dataset.from_tensor_slices(images).repeat().shuffle(len(images))
    return dataset.map(cut, num_parallel_calls=2).batch(16, drop_remainder=True).prefetch(2)


def photographs(quick: bool, minutes: float) -> list[dict]:
    import keras

    import aezoo

    folder = pathlib.Path(os.environ["PHOTOGRAPHS"])
    train, test = (aezoo.data.arrays(folder / "train400"), sorted((folder / "bsd68").glob("*.png")))
    options = {"level": SIGMA, "clip": False, "output_activation": None}
    options["filters"] = (8, 16) if quick else (32, 64, 128)
    keras.utils.set_random_seed(0)
    model = aezoo.unet_ae((PATCH, PATCH, 1), seed=0, **options)
    budget = aezoo.callbacks.TimeBudget(5 if quick else 60 * minutes)
    start = time.perf_counter()
    history = model.fit(
        patches(train), steps_per_epoch=25 if quick else 500, epochs=10_000, verbose=2,
        callbacks=[budget],
    )  # fmt: skip
    seconds = time.perf_counter() - start
    generator, whole, found, noisy = np.random.default_rng(0), {}, [], []
    for path in test[:2] if quick else test:
        clean = np.asarray(keras.utils.load_img(path, color_mode="grayscale"), "float32") / 255
        seen = clean + SIGMA * generator.standard_normal(clean.shape, "float32")
        if clean.shape not in whole:  # the weights do not depend on the size
            whole[clean.shape] = aezoo.unet_ae((*clean.shape, 1), **options)
            whole[clean.shape].set_weights(model.get_weights())
        outputs = whole[clean.shape].reconstruct(seen[None, ..., None])[0, ..., 0]
        found.append(psnr(clean, outputs.clip(0, 1)))
        noisy.append(psnr(clean, seen))
    about = {"task": "photographs, sigma 25", "images": len(found)}
    return [
        {**about, "model": "noisy", "psnr": f"{np.mean(noisy):.2f}"},
        {
            **about,
            "model": "unet_ae",
            "psnr": f"{np.mean(found):.2f}",
            "epochs": len(history.epoch),
            "minutes": f"{seconds / 60:.1f}",
            "parameters": model.count_params(),
        },
    ]


def main(
    task: str = typer.Option("mnist", help="mnist or photographs."),
    minutes: float = typer.Option(55, help="Of training on photographs."),
    epochs: int = typer.Option(12, help="Of training on MNIST."),
    quick: bool = typer.Option(False, help="Digits and a small net, to see that it runs."),
) -> None:
    rows = mnist(quick, epochs) if task == "mnist" else photographs(quick, minutes)
    for row in rows:
        print(row, flush=True)
    write(rows, "unet-quick" if quick else "unet", key=("task", "model"))


if __name__ == "__main__":
    typer.run(main)
