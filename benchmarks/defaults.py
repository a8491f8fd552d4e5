"""The choice of defaults: the test error after one change at a time, at equal training time.

    python -m benchmarks.defaults [--net conv|dense] [--data mnist|cifar10_jpeg] [--seconds 60]

Each row trains for the same wall-clock time, from the same seed, in its own process; evaluation and
compilation are not counted. `seconds_to_goal` is the training time after which the test error was
first at or below `goal`. "(base)" is the setting that every other row changes. `--only` runs some
rows again and keeps the other rows of the file.
"""

from __future__ import annotations

import json
import math
import time

import typer

from benchmarks._processes import measured
from benchmarks._results import write

GOALS = {"mnist": 0.0040, "cifar10_jpeg": 0.0045, "digits": 0.0300}
CODES = {"mnist": 32, "cifar10_jpeg": 128, "digits": 16}
CONV = {
    "filters": (32, 64),
    "kernel": 5,
    "activation": "relu",
    "normalisation": "batch",
    "upsampling": "transposed 4",
    "initialiser": "glorot_uniform",
    "loss": "mse",
    "learning_rate": 0.002,
    "schedule": "constant",
    "batch": 128,
}
CONV_CHANGES = [
    {},
    {"activation": "gelu"},
    {"activation": "silu"},
    {"activation": "leaky_relu"},
    {"normalisation": "none", "learning_rate": 0.001},
    {"normalisation": "layer"},
    {"filters": (16, 64)},
    {"filters": (16, 32)},
    {"filters": (32, 64, 128)},
    {"filters": (64, 64)},
    {"kernel": 3},
    {"kernel": 4},
    {"upsampling": "transposed 2"},
    {"upsampling": "nearest"},
    {"upsampling": "pixel shuffle"},
    {"initialiser": "he_normal"},
    {"initialiser": "orthogonal"},
    {"loss": "binary_crossentropy"},
    {"learning_rate": 0.001},
    {"learning_rate": 0.004},
    {"batch": 64},
    {"batch": 256},
    {"schedule": "cosine"},
    {"schedule": "cosine", "filters": (16, 64)},
    {"schedule": "cosine", "activation": "gelu"},
    {"filters": (16, 64), "learning_rate": 0.004},
    {"filters": (16, 64), "learning_rate": 0.004, "activation": "gelu"},
    {"filters": (16, 64), "learning_rate": 0.004, "activation": "silu"},
    {"filters": (16, 96), "learning_rate": 0.004, "activation": "silu"},
    {"filters": (16, 64), "learning_rate": 0.004, "activation": "silu", "schedule": "cosine"},
    {"filters": (16, 64), "learning_rate": 0.006, "activation": "silu", "schedule": "cosine"},
]
DENSE = {
    "hidden_units": (512, 256),
    "activation": "relu",
    "normalisation": "none",
    "initialiser": "glorot_uniform",
    "loss": "mse",
    "learning_rate": 0.001,
    "schedule": "constant",
    "batch": 128,
}
DENSE_CHANGES = [
    {},
    {"activation": "gelu"},
    {"activation": "selu"},
    {"activation": "tanh"},
    {"normalisation": "batch"},
    {"normalisation": "layer"},
    {"hidden_units": (512, 128)},
    {"hidden_units": (256,)},
    {"hidden_units": (1000, 500, 250)},
    {"initialiser": "he_normal"},
    {"initialiser": "orthogonal"},
    {"loss": "binary_crossentropy"},
    {"learning_rate": 0.0005},
    {"learning_rate": 0.002},
    {"batch": 64},
    {"batch": 256},
    {"schedule": "cosine"},
]
SWEEPS = {"conv": (CONV, CONV_CHANGES), "dense": (DENSE, DENSE_CHANGES)}


def conv_net(shape, code, s):
    """Encoder and decoder of strided convolutions, as in `conv_ae`, with the settings `s`."""
    from keras import Input, Model, layers

    start = {"kernel_initializer": s["initialiser"]}

    def stage(x):
        return _activated(_normalised(x, s), s)

    def up(channels, x, **options):
        kind, _, size = s["upsampling"].partition(" ")
        if kind == "transposed":
            return layers.Conv2DTranspose(channels, int(size), 2, "same", **start, **options)(x)
        if kind == "nearest":
            x = layers.UpSampling2D(2)(x)
            return layers.Conv2D(channels, 3, 1, "same", **start, **options)(x)
        x = layers.Conv2D(4 * channels, 3, 1, "same", **start, **options)(x)
        return _pixel_shuffle(x)

    x = inputs = Input(shape)
    for i, channels in enumerate(s["filters"]):
        size = s["kernel"] if i == 0 else 3
        x = stage(layers.Conv2D(channels, size, 2, "same", use_bias=False, **start)(x))
    encoder = Model(inputs, layers.Dense(code, **start)(layers.Flatten()(x)))
    small = [math.ceil(size / 2 ** len(s["filters"])) for size in shape[:2]]
    last = s["filters"][-1]
    x = inputs = Input((code,))
    x = layers.Dense(math.prod(small) * last, use_bias=False, **start)(x)
    x = stage(layers.Reshape((*small, last))(x))
    for channels in s["filters"][-2::-1]:
        x = stage(up(channels, x, use_bias=False))
    x = up(shape[-1], x)
    surplus = [(0, have - want) for have, want in zip(x.shape[1:3], shape[:2], strict=True)]
    x = layers.Cropping2D(surplus)(x)
    return encoder, Model(inputs, layers.Activation("sigmoid")(x))


def dense_net(shape, code, s):
    from keras import Input, Model, layers

    start = {"kernel_initializer": s["initialiser"]}

    def stages(x, hidden):
        for units in hidden:
            x = _activated(_normalised(layers.Dense(units, **start)(x), s), s)
        return x

    size = math.prod(shape)
    inputs = Input(shape)
    x = stages(layers.Flatten()(inputs), s["hidden_units"])
    encoder = Model(inputs, layers.Dense(code, **start)(x))
    inputs = Input((code,))
    x = stages(inputs, s["hidden_units"][::-1])
    x = layers.Dense(size, "sigmoid", **start)(x)
    return encoder, Model(inputs, layers.Reshape(shape)(x))


def _normalised(x, s):
    from keras import layers

    if s["normalisation"] == "batch":
        return layers.BatchNormalization(momentum=0.9)(x)
    return layers.LayerNormalization()(x) if s["normalisation"] == "layer" else x


def _activated(x, s):
    from keras import layers

    return layers.Activation(s["activation"])(x)


def _pixel_shuffle(x):
    from keras import layers

    height, width, channels = x.shape[1:]
    x = layers.Reshape((height, width, 2, 2, channels // 4))(x)
    x = layers.Permute((1, 3, 2, 4, 5))(x)
    return layers.Reshape((2 * height, 2 * width, channels // 4))(x)


def train(net, data, seconds, change) -> dict:
    """Trains for the given time, measures the test error meanwhile, and returns a row."""
    import keras

    import aezoo

    s = {**SWEEPS[net][0], **change}
    keras.utils.set_random_seed(0)
    x, test = (aezoo.data.arrays(data, part) for part in ("train", "test"))
    encoder, decoder = (conv_net if net == "conv" else dense_net)(x.shape[1:], CODES[data], s)
    model = aezoo.autoencoder(encoder, decoder, loss=s["loss"], learning_rate=s["learning_rate"])
    steps = max(1, len(x) // 4 // s["batch"])
    curve = []

    class Budget(keras.callbacks.Callback):
        """Stops when the time is over; the first part, which compiles, counts like the second."""

        used = 0.0

        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                self.used = 2 * (time.perf_counter() - self.start)
            elif epoch:
                self.used += time.perf_counter() - self.start
            if epoch:
                curve.append((self.used, float(model.reconstruction_error(test).mean())))
                model.stop_training = self.used >= seconds
            if s["schedule"] == "cosine":
                share = min(1.0, self.used / seconds)
                rate = s["learning_rate"] * 0.5 * (1 + math.cos(math.pi * share))
                model.optimizer.learning_rate = rate

    endless = aezoo.data.load(x, batch_size=s["batch"], seed=0).repeat()
    model.fit(endless, steps_per_epoch=steps, epochs=10**6, verbose=0, callbacks=[Budget()])
    images = (len(curve) + 1) * steps * s["batch"]
    reached = [used for used, error in curve if error <= GOALS[data]]
    return {
        "net": net,
        "data": data,
        "change": ", ".join(f"{key} {value}" for key, value in change.items()) or "(base)",
        "goal": GOALS[data],
        "seconds_to_goal": round(reached[0], 1) if reached else "",
        "test_mse": round(curve[-1][1], 5),
        "seconds": round(curve[-1][0], 1),
        "microseconds_per_image": round(
            curve[-1][0] / ((len(curve) + 1) * steps * s["batch"]) * 1e6, 1
        ),
        "epochs": round(images / len(x), 2),
        "parameters": model.count_params(),
    }


def main(
    net: str = typer.Option("conv", help="conv or dense."),
    data: str = typer.Option("mnist", help="mnist or cifar10_jpeg."),
    seconds: float = typer.Option(60.0, help="Training time of each row."),
    only: str = typer.Option("", help="Numbers of the changes, with commas between them."),
    quick: bool = typer.Option(False, help="Digits and two rows, to see that it runs."),
    row: int = typer.Option(None, hidden=True),
) -> None:
    if quick:
        data, seconds, only = "digits", 1.0, "0,1"
    changes = SWEEPS[net][1]
    if row is not None:
        print(json.dumps(train(net, data, seconds, changes[row])))
        return
    rows = []
    for number in [int(part) for part in only.split(",") if part] or range(len(changes)):
        arguments = ("--net", net, "--data", data, "--seconds", seconds, "--row", number)
        rows.append(measured("defaults", *arguments))
        print(rows[-1], flush=True)
    write(rows, f"defaults-{net}-{data}{'-quick' if quick else ''}", key="change")


if __name__ == "__main__":
    typer.run(main)
