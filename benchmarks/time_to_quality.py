"""Seconds until a convolutional autoencoder reaches a test error: aezoo, stock Keras, PyTorch.

    python -m benchmarks.time_to_quality [--quick]

"aezoo conv_ae" has the defaults of the factory, a 32-d code and batches of 128. Stock Keras trains
two strided convolutions with BatchNorm and their mirror by `fit(X, X)`. PyTorch trains the net of
`conv_ae` in channels-last memory. Each runs in its own process, and they take turns. Compilation
and evaluation are not counted. The test error is measured four times per epoch.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import os
import statistics
import time

import numpy as np
import typer

from benchmarks._processes import measured
from benchmarks._results import write

GOAL = 0.0040
BATCH = 128
LATENT_DIM = 32
QUARTERS = 4


def aezoo(x, test, epochs, goal):
    import aezoo

    model = aezoo.conv_ae(x.shape[1:], LATENT_DIM, seed=0)
    data = aezoo.data.load(x, batch_size=BATCH, seed=0)
    return keras_curve(model, [data.repeat()], test, epochs, len(x), goal)


def keras_fit(x, test, epochs, goal):
    import keras
    from keras import layers

    def stage(layer, channels):
        return [layer(channels, 3, 2, "same"), layers.BatchNormalization(), layers.ReLU()]

    small = x.shape[1] // 4
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            *stage(layers.Conv2D, 32),
            *stage(layers.Conv2D, 64),
            layers.Flatten(),
            layers.Dense(LATENT_DIM),
            layers.Dense(small * small * 64),
            layers.Reshape((small, small, 64)),
            *stage(layers.Conv2DTranspose, 32),
            layers.Conv2DTranspose(x.shape[-1], 3, 2, "same", activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.001), "mse")
    x = x.astype("float32") / 255
    return keras_curve(model, [x, x], test.astype("float32") / 255, epochs, len(x), goal)


def keras_curve(model, data, test, epochs, samples, goal):
    """(seconds, test error) four times per epoch, for both kinds of Keras model."""
    import keras

    steps = samples // BATCH // QUARTERS
    target = test / 255 if test.dtype == "uint8" else test
    curve, clock = [], {"used": 0.0}

    def look():
        clock["used"] += time.perf_counter() - clock["start"]
        if not curve:  # the first quarter compiles; it counts as the second one will
            clock["first"] = clock["used"]
        error = float(np.square(model.predict(test, verbose=0) - target).mean())
        curve.append((clock["used"], error))
        if error <= goal or len(curve) >= epochs * QUARTERS:
            model.stop_training = True
        clock["start"] = time.perf_counter()

    class Quarters(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            clock["start"] = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            if len(data) == 1:
                look()

    class Batches(Quarters):
        def on_train_batch_end(self, batch, logs=None):
            if (batch + 1) % steps == 0:
                look()

    if len(data) == 1:
        options = {"steps_per_epoch": steps, "epochs": epochs * QUARTERS}
        model.fit(*data, verbose=0, callbacks=[Quarters()], **options)
        assert model.fused_functions, "the loop that is compiled into one call did not run"
    else:
        model.fit(*data, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[Batches()])
    return curve


def torch_channels_last(x, test, epochs, goal):
    """The net of `conv_ae`, layer by layer."""
    import torch
    from torch import nn

    import aezoo

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    recipe = aezoo.conv_ae(x.shape[1:], LATENT_DIM)
    rate = float(recipe.optimizer.learning_rate)
    kinds = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, "sigmoid": nn.Sigmoid}
    parts = []
    for layer in [*recipe.encoder.layers, *recipe.decoder.layers]:
        kind = type(layer).__name__
        inputs = layer.input.shape if kind != "InputLayer" else None
        if kind == "Conv2D":
            size, stride = layer.kernel_size[0], layer.strides[0]
            parts.append(
                nn.Conv2d(inputs[-1], layer.filters, size, stride, size // 2, bias=layer.use_bias)
            )
        elif kind == "Conv2DTranspose":
            parts.append(
                nn.ConvTranspose2d(inputs[-1], layer.filters, 4, 2, 1, bias=layer.use_bias)
            )
        elif kind == "Dense":
            parts.append(nn.Linear(inputs[-1], layer.units, bias=layer.use_bias))
        elif kind == "BatchNormalization":
            parts.append(nn.BatchNorm2d(inputs[-1], eps=layer.epsilon, momentum=0.1))
        elif kind == "Activation" and layer.activation.__name__ in kinds:
            parts.append(kinds[layer.activation.__name__]())
        elif kind == "Flatten":
            parts.append(nn.Flatten())
        elif kind == "Reshape":
            height, width, channels = layer.target_shape
            parts.append(nn.Unflatten(1, (channels, height, width)))
        elif kind not in ("InputLayer", "Activation"):
            raise ValueError(f"conv_ae has a layer that is not in this program: {kind}")
    model = nn.Sequential(*parts).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), rate, fused=True)

    def images(array):
        tensor = torch.from_numpy(array.astype("float32") / 255).permute(0, 3, 1, 2)
        return tensor.contiguous(memory_format=torch.channels_last)

    x, test = images(x), images(test)
    steps, used, curve = len(x) // BATCH // QUARTERS, 0.0, []
    while len(curve) < epochs * QUARTERS:
        order = torch.randperm(len(x))
        for quarter in range(QUARTERS):
            start = time.perf_counter()
            model.train()
            for step in range(quarter * steps, (quarter + 1) * steps):
                target = x[order[step * BATCH : (step + 1) * BATCH]]
                optimizer.zero_grad(set_to_none=True)
                nn.functional.mse_loss(model(target), target).backward()
                optimizer.step()
            used += time.perf_counter() - start
            model.eval()
            with torch.no_grad():
                error = float(nn.functional.mse_loss(model(test), test))
            curve.append((used, error))
            if error <= goal:
                return curve
    return curve


PEERS = {
    "aezoo conv_ae": (aezoo, ("tensorflow", "keras")),
    "Keras fit(X, X), two strided convolutions": (keras_fit, ("tensorflow", "keras")),
    "PyTorch channels-last, the net of conv_ae": (torch_channels_last, ("torch",)),
}


def figures(curve, goal) -> dict:
    """Seconds to the goal and per epoch; the quarter that compiles counts like the others."""
    quarter = statistics.median(
        after - before for (before, _), (after, _) in itertools.pairwise(curve)
    )
    compiled = curve[0][0] - quarter
    reached = [used - compiled for used, error in curve if error <= goal]
    return {
        "seconds_to_goal": reached[0] if reached else None,
        "seconds_per_epoch": quarter * QUARTERS,
        "compile_seconds": max(0.0, compiled),
        "test_mse": curve[-1][1],
        "epochs": len(curve) / QUARTERS,
    }


def main(
    quick: bool = typer.Option(False, help="Digits and few epochs, to see that it runs."),
    rounds: int = typer.Option(3, help="How often each peer has its turn."),
    epochs: int = typer.Option(16, help="At most so many epochs."),
    peer: str = typer.Option(None, hidden=True),
) -> None:
    import aezoo

    goal = 0.02 if quick else GOAL
    if peer:
        parts = [aezoo.data.arrays("digits" if quick else "mnist", p) for p in ("train", "test")]
        print(json.dumps(figures(PEERS[peer][0](*parts, epochs, goal), goal)))
        return
    if quick:
        rounds, epochs = 1, 2
    turns = {}
    for _ in range(rounds):
        for name, (_, needs) in PEERS.items():
            try:
                versions = " ".join(f"{p} {importlib.metadata.version(p)}" for p in needs)
            except importlib.metadata.PackageNotFoundError as error:
                print(f"{name} is skipped: {error.name} is not installed")
                continue
            turn = measured("time_to_quality", "--peer", name, "--epochs", epochs, quick=quick)
            turns.setdefault((name, versions), []).append(turn)
            print(name, turns[name, versions][-1], flush=True)
    rows = []
    for (name, versions), results in turns.items():
        row = {"peer": name, "goal_test_mse": goal}
        for key in results[0]:
            found = [result[key] for result in results if result[key] is not None]
            row[key] = round(statistics.median(found), 5) if found else ""
        rows.append({**row, "turns": len(results), "versions": versions})
    write(rows, "time_to_quality-quick" if quick else "time_to_quality")


if __name__ == "__main__":
    typer.run(main)
