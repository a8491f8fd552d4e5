"""Time per image and peak memory of `fit` against the number of samples.

    python -m benchmarks.scaling [--quick]

MNIST is repeated as often as needed. "in memory" trains on an array through `aezoo.data.load`.
"streamed" trains on an ordinary `tf.data` pipeline with batches of 256, which never holds more than
MNIST itself. The time of iterating over the pipeline alone is in a column of its own. Each size
runs in its own process, whose peak memory is measured.
"""

from __future__ import annotations

import json
import resource
import time

import numpy as np
import typer

from benchmarks._processes import epoch_clock, measured
from benchmarks._results import save, write

SIZES = [10_000, 30_000, 100_000, 300_000, 1_000_000, 2_000_000]
QUICK_SIZES = [5_000]
KINDS = {
    "dense_ae, in memory": 1_000_000,
    "dense_ae, streamed": 1_000_000,
    "pca_ae, streamed": 2_000_000,
    "random_feature_ae, streamed": 300_000,
}
BATCH = 256


def measure(kind: str, samples: int, quick: bool) -> dict:
    """Measures one epoch of `samples` samples, after a call or an epoch that compiles."""
    import tensorflow as tf

    import aezoo

    x = aezoo.data.arrays("digits" if quick else "mnist").reshape(-1, 64 if quick else 784)
    factory, source = kind.split(", ")
    size = {"dense_ae": {"hidden_units": ()}, "random_feature_ae": {"features": 500}}
    model = aezoo.create(factory, x.shape[1:], 32, **size.get(factory, {}), seed=0)
    if source == "in memory":
        data = aezoo.data.load(np.resize(x, (samples, x.shape[1])), batch_size=BATCH)
    else:
        data = tf.data.Dataset.from_tensor_slices(x).repeat().take(samples).batch(BATCH)
        data = data.prefetch(tf.data.AUTOTUNE)
    start = time.perf_counter()
    for _ in data:
        pass
    pipeline = time.perf_counter() - start
    seconds = []
    if model.usual_epochs == 1:
        model.fit(data.take(20), verbose=0)
        start = time.perf_counter()
        model.fit(data, verbose=0)
        seconds.append(time.perf_counter() - start)
    else:
        model.fit(data, epochs=2, verbose=0, callbacks=[epoch_clock(seconds)])
    return {
        "microseconds_per_image": round(seconds[-1] / samples * 1e6, 2),
        "pipeline_microseconds_per_image": round(pipeline / samples * 1e6, 2),
        "peak_memory_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def picture(rows) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), constrained_layout=True)
    for kind in dict.fromkeys(row["kind"] for row in rows):
        found = [row for row in rows if row["kind"] == kind]
        sizes = [int(row["samples"]) for row in found]
        for axis, key in zip(axes, ("microseconds_per_image", "peak_memory_mib"), strict=True):
            axis.plot(sizes, [float(row[key]) for row in found], marker="o", label=kind)
    for axis, label in zip(axes, ("microseconds per image", "peak memory, MiB"), strict=True):
        axis.set(xscale="log", xlabel="samples", ylabel=label, ylim=(0, None))
    axes[0].legend(fontsize="small")
    save(figure, "scaling.svg")


def main(
    quick: bool = typer.Option(False, help="Digits and one size, to see that it runs."),
    kind: str = typer.Option(None, hidden=True),
    samples: int = typer.Option(0, hidden=True),
) -> None:
    if kind:
        print(json.dumps(measure(kind, samples, quick)))
        return
    rows = []
    for kind, most in KINDS.items():
        for size in QUICK_SIZES if quick else [size for size in SIZES if size <= most]:
            found = measured("scaling", "--kind", kind, "--samples", size, quick=quick)
            rows.append({"kind": kind, "samples": size, **found})
            print(rows[-1], flush=True)
    write(rows, "scaling-quick" if quick else "scaling")
    if not quick:
        picture(rows)


if __name__ == "__main__":
    typer.run(main)
