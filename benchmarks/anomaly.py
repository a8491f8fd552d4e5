"""Anomaly detection on MNIST: one digit is normal, the other nine are not.

    python -m benchmarks.anomaly [--task auroc|rate] [--quick]

auroc: the area under the ROC curve of the scores of the test images, the normal digit against all
others, for each of the ten digits, and the mean. Models are trained on four fifths of the training
images of the digit, and the detector is calibrated on the last fifth.

rate: the share of false alarms on new normal data. It is the mean over random divisions into 1,000
samples, which calibrate the threshold, and the others, on which alarms are counted. The promise is
that this mean is at most the given rate. +- is the 95 % confidence interval of the mean; the band
holds 95 % of the divisions.
"""

from __future__ import annotations

import time

import numpy as np
import typer

from benchmarks._results import write

HELD_OUT = 0.2


class Data:
    """MNIST, or the digits."""

    def __init__(self, quick: bool):
        import aezoo

        self.quick = quick
        name = "digits" if quick else "mnist"
        self.x, self.labels = aezoo.data.arrays(name, labels=True)
        self.test, self.test_labels = aezoo.data.arrays(name, "test", labels=True)
        self.shape = self.x.shape[1:]

    def digit(self, digit: int):
        """Training images of one digit, and those that are held out from training."""
        chosen = self.x[self.labels == digit]
        cut = int(len(chosen) * (1 - HELD_OUT))
        return chosen[:cut], chosen[cut:]


def models(data):
    """Each model, the epochs it trains for, and its scores."""
    import aezoo

    size, epochs = (8, 2) if data.quick else (32, 20)
    patches = {"kernel_size": 3} if data.quick else {"kernel_size": 5, "pool": 4}
    pca = aezoo.pca_ae(data.shape, size)
    dense = aezoo.dense_ae(data.shape, size, hidden_units=(512, 128), activation="relu", seed=0)
    vae = aezoo.vae(data.shape, size, hidden_units=(256, 128), seed=0)
    filters = aezoo.patch_ae(data.shape, filters=50, regularization=1e-3, seed=0, **patches)
    options = {"regularization": 1e-3, "seed": 0, **patches}
    untrained = aezoo.dense_ae(data.shape, size, hidden_units=(512, 128), activation="relu", seed=0)
    random = aezoo.patch_ae(data.shape, filters=50, **options)
    pixels = int(np.prod(data.shape))
    whole = aezoo.pca_ae(data.shape, pixels)  # its code is the image, turned
    return {
        "raw pixels": (whole, 1, ("nearest",)),
        "dense_ae, not trained": (untrained, 0, ("mahalanobis", "nearest")),
        "patch_ae filters 50, random": (random, 0, ("mahalanobis", "nearest")),
        f"pca_ae latent_dim {size}": (pca, 1, ("reconstruction", "mahalanobis", "nearest")),
        f"dense_ae latent_dim {size}": (dense, epochs, ("reconstruction",)),
        f"vae latent_dim {size}": (vae, epochs, ("reconstruction", "likelihood")),
        "patch_ae filters 50": (filters, 1, ("mahalanobis", "nearest")),
    }


def auroc(data) -> list[dict]:
    from sklearn.metrics import roc_auc_score

    import aezoo

    rows, found, seconds = [], {}, {}
    for digit in range(2 if data.quick else 10):
        training, normal = data.digit(digit)
        for name, (model, epochs, scores) in models(data).items():
            start = time.perf_counter()
            if epochs:
                model.fit(training, epochs=epochs, batch_size=128, verbose=0)
            trained = time.perf_counter() - start
            for score in scores:
                start = time.perf_counter()
                detector = aezoo.anomaly.Detector(model, score)
                detector.fit(normal, 0.1, reference=training)
                values = detector.anomaly_scores(data.test)
                key = name, score
                area = roc_auc_score(data.test_labels != digit, values)
                found.setdefault(key, []).append(area)
                seconds[key] = seconds.get(key, 0) + trained + time.perf_counter() - start
                rows.append(row("auroc", *key, digit, f"{area:.4f}"))
    for key, areas in found.items():
        rows.append(row("auroc", *key, "mean", f"{np.mean(areas):.4f}", seconds=seconds[key]))
    return rows


def rate(data) -> list[dict]:
    """False alarms on one digit; calibration and test samples are divided at random."""
    import aezoo

    rows, digit, divisions = [], 3, 200 if data.quick else 5000
    training, held_out = data.digit(digit)
    generator = np.random.default_rng(0)
    fresh = np.concatenate([held_out, data.test[data.test_labels == digit]])
    for name, score in (("pca_ae", "reconstruction"), ("patch_ae", "nearest")):
        model = next(model for key, (model, _, _) in models(data).items() if key.startswith(name))
        model.fit(training, verbose=0)
        detector = aezoo.anomaly.Detector(model, score)
        detector.fit(fresh, 0.1, reference=training)
        scores = detector.anomaly_scores(fresh)
        for promised in (0.1, 0.01, 0.001):
            shares = []
            samples = len(scores) // 2 if data.quick else 1000
            if samples < 1 / promised - 1:
                continue
            for _ in range(divisions):
                order = generator.permutation(len(scores))
                calibrating, others = scores[order[:samples]], scores[order[samples:]]
                threshold = aezoo.anomaly.conformal_threshold(calibrating, promised)
                shares.append((others > threshold).mean())
            low, high = np.quantile(shares, (0.025, 0.975))
            error = 1.96 * np.std(shares) / np.sqrt(divisions)
            text = f"{np.mean(shares):.5f} +- {error:.5f}"
            band = f"{low:.5f} to {high:.5f}"
            rows.append(row("rate", name, score, f"promised {promised}", text, band))
    return rows


def row(task, model, score, case, value, band="", seconds=0.0):
    found = {"task": task, "model": model, "score": score, "case": case, "value": value}
    print(found, band, flush=True)
    return {**found, "band": band, "seconds": round(seconds)}


def main(
    task: str = typer.Option(None, help="auroc or rate alone; the others' rows are kept."),
    quick: bool = typer.Option(False, help="Digits, two of them normal, and few epochs."),
) -> None:
    data, tasks = Data(quick), {"auroc": auroc, "rate": rate}
    for name in [task] if task else tasks:
        write(tasks[name](data), "anomaly-quick" if quick else "anomaly", key="task")


if __name__ == "__main__":
    typer.run(main)
