"""The measurements behind `choose_jit` and `choose_length`, which decide how fused steps run.

    python -m benchmarks.fused_choices [--quick]

Both are in aezoo/backends/tensorflow_fused_steps.py. Each net is trained on MNIST in blocks of
different lengths, with and without XLA; all of them take turns in one process. The seconds per
epoch are computed from a part of an epoch. The seconds of compiling are the difference between the
first call and the others.
"""

from __future__ import annotations

import statistics
import time

import typer

from benchmarks._results import write

NETS = {
    "784-128-784, batch 32": ("dense_ae", (784,), {"latent_dim": 128, "hidden_units": ()}, 32),
    "784-128-784, batch 256": ("dense_ae", (784,), {"latent_dim": 128, "hidden_units": ()}, 256),
    "784-512-256-32, batch 128": (
        "dense_ae", (784,), {"latent_dim": 32, "hidden_units": (512, 256)}, 128,
    ),
    "conv_ae, batch 128": ("conv_ae", (28, 28, 1), {"latent_dim": 32}, 128),
}  # fmt: skip
LENGTHS = (1, 4, 16, 64, 256)
SAMPLES = 60_000


def main(
    quick: bool = typer.Option(False, help="Digits and few steps, to see that it runs."),
    rounds: int = typer.Option(3, help="How often each choice has its turn."),
) -> None:
    import aezoo
    from aezoo.backends import tensorflow_fused_steps as fused_steps

    x = aezoo.data.arrays("digits" if quick else "mnist")
    rows, lengths = [], LENGTHS[:3:2] if quick else LENGTHS
    for net, (factory, shape, given, batch) in NETS.items():
        shape = (shape if len(shape) == 3 else (64,)) if quick else shape
        shape = x.shape[1:] if len(shape) == 3 else shape
        part = x[: (20 if quick else 16 if "conv" in net else 256) * batch].reshape(-1, *shape)
        choices = {}
        for jit_compile in (False, True):
            for length in lengths[:3] if "conv" in net else lengths:
                model = aezoo.create(factory, shape, **given, jit_compile=jit_compile, seed=0)
                choices[jit_compile, length] = (model, [])
        for _ in range(2 if quick else rounds + 1):
            for (_, length), (model, seconds) in choices.items():
                fused_steps.LONGEST_BLOCK = fused_steps.LONGEST_CONVOLUTIONAL_BLOCK = length
                start = time.perf_counter()
                model.fit(part, batch_size=batch, verbose=0)
                seconds.append(time.perf_counter() - start)
        for (jit_compile, length), (_, seconds) in choices.items():
            steady = statistics.median(seconds[1:])
            rows.append(
                {
                    "net": net,
                    "xla": jit_compile,
                    "steps_in_a_block": length,
                    "seconds_per_epoch": round(steady * SAMPLES / len(part), 3),
                    "compile_seconds": round(seconds[0] - steady, 2),
                }
            )
            print(rows[-1], flush=True)
    write(rows, "fused_choices-quick" if quick else "fused_choices")


if __name__ == "__main__":
    typer.run(main)
