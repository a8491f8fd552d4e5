"""Seconds per epoch of `fit`, next to Keras's own loop, PyTorch, JAX and NumPy.

    python -m benchmarks.training_speed [--quick]

Each peer trains the same dense net on the same images with Adam, in its own process. The processes
take turns, round after round, so that a slower phase of the machine affects all of them. The first
epoch, which compiles, is reported separately. The test error is reported next to the time.
"""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import math
import os
import statistics
import time

import numpy as np
import typer

from benchmarks._processes import epoch_clock, measured
from benchmarks._results import write

LEARNING_RATE = 0.001
CASES = [
    ((784, 128, 784), "sigmoid", 32),
    ((784, 128, 784), "sigmoid", 256),
    ((784, 512, 256, 32, 256, 512, 784), "relu", 128),
]
QUICK_CASES = [((64, 16, 64), "sigmoid", 32)]


def images(quick: bool) -> tuple[np.ndarray, np.ndarray]:
    """Flat uint8 images for training and for testing: MNIST, or the embedded digits."""
    import aezoo

    parts = [aezoo.data.arrays("digits" if quick else "mnist", part) for part in ("train", "test")]
    return tuple(part.reshape(len(part), -1) for part in parts)


def aezoo(sizes, activation, batch, epochs, x, test):
    import aezoo

    half = len(sizes) // 2
    latent_activation = activation if len(sizes) == 3 else None
    model = aezoo.dense_ae(
        sizes[:1],
        sizes[half],
        hidden_units=sizes[1:half],
        activation=activation,
        latent_activation=latent_activation,
        seed=0,
    )
    seconds = keras_epochs(model, [aezoo.data.load(x, batch_size=batch, seed=0)], batch, epochs)
    return seconds, float(model.reconstruction_error(test).mean())


def keras_fit(sizes, activation, batch, epochs, x, test, **options):
    import keras

    layers = [keras.layers.Dense(size, kind) for size, kind in wiring(sizes, activation)]
    model = keras.Sequential([keras.Input(sizes[:1]), *layers])
    model.compile(keras.optimizers.Adam(LEARNING_RATE), "mse", **options)
    x, test = scaled(x), scaled(test)
    seconds = keras_epochs(model, [x, x], batch, epochs)
    return seconds, float(np.square(model.predict(test, verbose=0) - test).mean())


def keras_jit(*arguments):
    return keras_fit(*arguments, jit_compile=True)


def keras_steps_per_execution(*arguments):
    return keras_fit(*arguments, steps_per_execution=64)


def keras_strongest(*arguments):
    return keras_fit(*arguments, jit_compile=True, steps_per_execution=64)


def torch_eager(sizes, activation, batch, epochs, x, test, compile=False):
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.manual_seed(0)
    parts = []
    for (size, kind), inputs in zip(wiring(sizes, activation), sizes[:-1], strict=True):
        parts.append(torch.nn.Linear(inputs, size))
        parts += {"sigmoid": [torch.nn.Sigmoid()], "relu": [torch.nn.ReLU()], None: []}[kind]
    model = torch.nn.Sequential(*parts)
    run = torch.compile(model) if compile else model
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, fused=True)
    x, test = torch.from_numpy(scaled(x)), torch.from_numpy(scaled(test))
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        order = torch.randperm(len(x))
        for first in range(0, len(x), batch):
            target = x[order[first : first + batch]]
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.mse_loss(run(target), target).backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    with torch.no_grad():
        return seconds, float(torch.nn.functional.mse_loss(model(test), test))


def torch_compile(*arguments):
    return torch_eager(*arguments, compile=True)


def jax_scan(sizes, activation, batch, epochs, x, test):
    import jax
    import jax.numpy as jnp

    kinds = {"sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu, None: lambda x: x}
    functions = [kinds[kind] for _, kind in wiring(sizes, activation)]
    x, test = jnp.asarray(scaled(x)), jnp.asarray(scaled(test))

    def forward(weights, x):
        for (kernel, bias), function in zip(weights, functions, strict=True):
            x = function(x @ kernel + bias)
        return x

    def loss(weights, x):
        return jnp.mean((forward(weights, x) - x) ** 2)

    def step(state, rows):
        weights, first, second, t = state
        gradient = jax.grad(loss)(weights, x[rows])
        t = t + 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        rate = LEARNING_RATE * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        weights = jax.tree.map(
            lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, first, second
        )
        return (weights, first, second, t), None

    @jax.jit
    def epoch(state, key):
        order = jax.random.permutation(key, len(x))[: len(x) // batch * batch]
        return jax.lax.scan(step, state, order.reshape(-1, batch))[0]

    weights = jax.tree.map(jnp.asarray, initial_weights(sizes))
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state, seconds = (weights, zeros, zeros, 0.0), []
    for key in jax.random.split(jax.random.key(0), epochs):
        start = time.perf_counter()
        state = jax.block_until_ready(epoch(state, key))
        seconds.append(time.perf_counter() - start)
    return seconds, float(loss(state[0], test))


def numpy_by_hand(sizes, activation, batch, epochs, x, test):
    x, test = scaled(x), scaled(test)
    kinds = [kind for _, kind in wiring(sizes, activation)]
    weights = [part for pair in initial_weights(sizes) for part in pair]
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    rng, t, seconds = np.random.default_rng(0), 0, []

    def forward(x):
        values = [x]
        for i, kind in enumerate(kinds):
            x = x @ weights[2 * i] + weights[2 * i + 1]
            if kind == "sigmoid":
                x = 1 / (1 + np.exp(-x))
            elif kind == "relu":
                x = np.maximum(x, 0)
            values.append(x)
        return values

    for _ in range(epochs):
        start = time.perf_counter()
        order = rng.permutation(len(x))
        for begin in range(0, len(x), batch):
            values = forward(x[order[begin : begin + batch]])
            delta = 2 * (values[-1] - values[0]) / values[0].size
            gradients = [None] * len(weights)
            for i in reversed(range(len(kinds))):
                if kinds[i] == "sigmoid":
                    delta = delta * values[i + 1] * (1 - values[i + 1])
                elif kinds[i] == "relu":
                    delta = delta * (values[i + 1] > 0)
                gradients[2 * i], gradients[2 * i + 1] = values[i].T @ delta, delta.sum(0)
                delta = delta @ weights[2 * i].T
            t += 1
            rate = LEARNING_RATE * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            for w, m, v, g in zip(weights, first, second, gradients, strict=True):
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                w -= rate * m / (np.sqrt(v) + 1e-7)
        seconds.append(time.perf_counter() - start)
    return seconds, float(np.square(forward(test)[-1] - test).mean())


PEERS = {
    "aezoo fit": (aezoo, ("tensorflow", "keras")),
    "Keras fit(X, X)": (keras_fit, ("tensorflow", "keras")),
    "Keras fit, jit_compile": (keras_jit, ("tensorflow", "keras")),
    "Keras fit, steps_per_execution": (keras_steps_per_execution, ("tensorflow", "keras")),
    "Keras fit, both": (keras_strongest, ("tensorflow", "keras")),
    "PyTorch": (torch_eager, ("torch",)),
    "torch.compile": (torch_compile, ("torch",)),
    "JAX lax.scan": (jax_scan, ("jax",)),
    "NumPy by hand": (numpy_by_hand, ("numpy",)),
}
QUICK_PEERS = ("aezoo fit", "Keras fit(X, X)", "PyTorch", "JAX lax.scan", "NumPy by hand")


def wiring(sizes, activation):
    """(units, activation) of each layer: linear code in deep nets, sigmoid output."""
    kinds = [activation] * (len(sizes) - 1)
    if len(sizes) > 3:
        kinds[len(sizes) // 2 - 1] = None
    kinds[-1] = "sigmoid"
    return list(zip(sizes[1:], kinds, strict=True))


def initial_weights(sizes):
    rng = np.random.default_rng(0)
    return [
        (
            rng.uniform(-1, 1, (a, b)).astype("f") * np.float32(np.sqrt(6 / (a + b))),
            np.zeros(b, "f"),
        )
        for a, b in itertools.pairwise(sizes)
    ]


def scaled(x):
    return x.astype("float32") / 255


def keras_epochs(model, data, batch, epochs) -> list[float]:
    seconds, size = [], {"batch_size": batch} if len(data) == 2 else {}
    model.fit(*data, **size, epochs=epochs, verbose=0, callbacks=[epoch_clock(seconds)])
    return seconds


def main(
    quick: bool = typer.Option(False, help="Digits and few epochs, to see that it runs."),
    rounds: int = typer.Option(2, help="How often each peer has its turn."),
    epochs: int = typer.Option(5, help="Epochs a turn, the first of them apart."),
    nets: int = typer.Option(len(CASES), help="Only the first so many nets."),
    peer: str = typer.Option(None, hidden=True),
    case: int = typer.Option(0, hidden=True),
) -> None:
    cases = QUICK_CASES if quick else CASES
    if peer:
        sizes, activation, batch = cases[case]
        seconds, mse = PEERS[peer][0](sizes, activation, batch, epochs, *images(quick))
        print(json.dumps({"seconds": seconds, "mse": mse}))
        return
    rows, rounds, epochs = [], 1 if quick else rounds, 2 if quick else epochs
    for number, (sizes, _, batch) in enumerate(cases[:nets]):
        turns = {name: [] for name, (_, needs) in PEERS.items() if installed(name, needs)}
        if quick:  # one of each package, as the others differ in an argument
            turns = {name: turn for name, turn in turns.items() if name in QUICK_PEERS}
        for _ in range(rounds):
            for name in turns:
                turn = ("--peer", name, "--case", number, "--epochs", epochs)
                turns[name].append(measured("training_speed", *turn, quick=quick))
                print(name, sizes, batch, turns[name][-1], flush=True)
        for name, results in turns.items():
            steady = [value for result in results for value in result["seconds"][1:]]
            median = statistics.median(steady)
            first = statistics.median(result["seconds"][0] for result in results)
            versions = " ".join(f"{p} {importlib.metadata.version(p)}" for p in PEERS[name][1])
            rows.append(
                {
                    "net": "-".join(map(str, sizes)),
                    "batch": batch,
                    "peer": name,
                    "seconds_per_epoch": round(median, 4),
                    "fastest": round(min(steady), 4),
                    "slowest": round(max(steady), 4),
                    "compile_seconds": round(max(0.0, first - median), 2),
                    "test_mse": round(statistics.median(r["mse"] for r in results), 5),
                    "epochs_timed": len(steady),
                    "versions": versions,
                }
            )
    write(rows, "training_speed-quick" if quick else "training_speed")


def installed(name, needs) -> bool:
    for package in needs:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is skipped: {package} is not installed")
            return False
    return True


if __name__ == "__main__":
    typer.run(main)
