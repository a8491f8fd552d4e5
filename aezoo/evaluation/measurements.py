"""The metrics of a report card, each taken from every model in the same way."""

from __future__ import annotations

import dataclasses
import math
import time

import numpy as np
from threadpoolctl import threadpool_limits

import aezoo.metrics as metrics
from aezoo.evaluation.samples import Part, Thinned
from aezoo.metrics import score
from aezoo.model_classes.pooling import encoder_of, pooled
from aezoo.model_classes.reconstruction_model import VALIDATION_SEED, evaluation_pairs
from aezoo.training.baselines import Baselines
from aezoo.transfer._probes import neighbour_probe, probe

# How many values of samples are kept for pictures and timings: 40 MB in float32.
KEPT_VALUES = 10_000_000
KEPT_SAMPLES = 1500
# Of a timing; fewer samples are repeated, so that a small data set does not time the call alone.
TIMED_SAMPLES = 4096
EXTREMES = 8
# How many values of codes are kept for the probes, evenly spread: 200 MB in float32.
PROBE_VALUES = 50_000_000
# For the probes, larger codes of images and series are averaged over their places.
LARGEST_CODE = 1024
CLUSTER_SAMPLES = 10_000
# With more features than the first number, PCA sees the second number of samples.
PCA_FEATURES, PCA_SAMPLES = 4096, 4096
CLIPS = {(0, 1): "clip", (-1, 1): "hard_tanh", (0, math.inf): "relu"}  # what clips to a range


@dataclasses.dataclass
class Samples:
    """What the report keeps of the samples that are measured.

    Attributes:
        x: At most 1,500 of them, evenly spread, pixels in [0, 1].
        labels: Their labels, or None.
        in_unit_range: Whether they lie in [0, 1].
        noise_unit: The standard deviation of noise of level 1: 1 for data in [0, 1], else that of
            the data.
    """

    x: np.ndarray
    labels: np.ndarray | None
    in_unit_range: bool
    noise_unit: float


def keep_samples(test: Part, steps) -> Samples:
    """Takes them in one pass over the data."""
    kept, low, high = None, math.inf, -math.inf
    for x, labels in steps("looking at the data", test.batches(), test.steps):
        if kept is None:
            kept = Thinned(int(np.clip(KEPT_VALUES // x[0].size, 16, KEPT_SAMPLES)))
        kept.add(x, np.zeros(len(x)) if labels is None else labels)
        low, high = min(low, x.min()), max(high, x.max())
    x, labels = kept.columns
    inside = bool(low >= 0 and high <= 1)
    return Samples(x, labels if test.labelled else None, inside, 1.0 if inside else float(x.std()))


def pca_size(model) -> int | None:
    """The size of the model's code, or that of its input, which loses nothing; None without one."""
    if model.code_size is None:
        return None
    return min(model.code_size, math.prod(model.input_shape[1:]))


def fit_pca(model, train: Part, in_unit_range: bool, ranges: set):
    """PCA of the size of the model's code, as an autoencoder, fitted to clean samples.

    Its output is clipped to [0, 1] where the data lie there, else to the output range of the
    models that it is compared with, in `ranges`, where they have one in common.
    """
    from aezoo.closed_form.pca import pca_ae

    shape, size = model.input_shape[1:], pca_size(model)
    clip = "clip" if in_unit_range else CLIPS.get(*ranges) if len(ranges) == 1 else None
    pca = pca_ae(shape, size, output_activation=clip, name=f"PCA_{size}")
    # One thread, as on a busy machine each of several waits for the others.
    with threadpool_limits(1):
        pca.fit(_solvable(train, math.prod(shape)), verbose=0)
    return pca


def _solvable(train: Part, features: int):
    """All inputs, or fewer: with many features, linear maps cost the square of the samples."""
    data = train.inputs()
    if features <= PCA_FEATURES:
        return data
    if hasattr(data, "cardinality"):
        return data.take(max(1, PCA_SAMPLES // 256))
    return data[:: max(1, len(data) // PCA_SAMPLES)]


class Reconstructions:
    """Sums over the reconstructions of one model, and its worst and best samples.

    Args:
        model: A `ReconstructionModel`.
        samples: The `Samples` of the data.
        noise_levels: Standard deviations, in units of `samples.noise_unit`.
    """

    def __init__(self, model, samples: Samples, noise_levels: tuple[float, ...]):
        self._model, self._unit = model, samples.in_unit_range
        self._has_ssim = self._unit and metrics.has_ssim(samples.x.shape[1:])
        self._errors, self._similarity = [], 0.0
        self._noisy = dict.fromkeys(noise_levels, 0.0)
        self.worst = self.best = np.empty((0, *samples.x.shape[1:]), "float32")
        self._worst_errors = self._best_errors = np.empty(0)

    def add(self, x, noisy: dict[float, np.ndarray]) -> None:
        """One batch, and the same batch with noise of each level."""
        output = self._model.predict_on_batch(x)
        errors = _sample_errors(output, x)
        self._errors.append(errors)
        if self._has_ssim:
            self._similarity += float(metrics.ssim(x, output).sum())
        for level, inputs in noisy.items():
            found = self._model.predict_on_batch(inputs)
            self._noisy[level] += float(_sample_errors(found, x).sum())
        self.best, self._best_errors = _smallest(self.best, self._best_errors, x, errors)
        # The largest errors are the smallest of their negatives.
        self.worst, negative = _smallest(self.worst, -self._worst_errors, x, -errors)
        self._worst_errors = -negative

    @property
    def errors(self) -> np.ndarray:
        return np.concatenate(self._errors)

    def figures(self) -> dict:
        errors = self.errors
        # The PSNR of the mean error, which is not the mean of the samples' PSNR.
        scores = score(float(errors.mean()))
        found = {"mse": scores["mse"]}
        # JSON has no infinity, which is the PSNR of a perfect reconstruction.
        if self._unit and math.isfinite(scores["psnr"]):
            found["psnr"] = scores["psnr"]
        if self._has_ssim:
            found["ssim"] = self._similarity / len(errors)
        noise = {str(level): total / len(errors) for level, total in self._noisy.items()}
        return {**found, "noise": noise}


def reconstruct_all(models: dict, test: Part, samples: Samples, noise_levels, steps) -> dict:
    """`Reconstructions` of each model, all of them in one pass with the same noise."""
    found = {name: Reconstructions(model, samples, noise_levels) for name, model in models.items()}
    generator = np.random.default_rng(0)
    for x, _ in steps("reconstructing", test.batches(), test.steps):
        # One draw for all models and levels, so that these alone make the difference.
        noise = generator.standard_normal(x.shape, "float32") * np.float32(samples.noise_unit)
        noisy = {level: x + np.float32(level) * noise for level in noise_levels}
        if samples.in_unit_range:
            noisy = {level: np.clip(inputs, 0, 1) for level, inputs in noisy.items()}
        for reconstructions in found.values():
            reconstructions.add(x, noisy)
    return found


def corrupted_errors(model, pca, train: Part, test: Part) -> tuple[dict, float]:
    """Mean squared errors where inputs are corrupted as in the model's training.

    One is the error of the model, the others are those of the affine maps of `Baselines`: the best
    one from corrupted to clean training samples, and the best one whose rank is the code's size.

    Returns:
        The metrics of the model, and the error of `pca`, which was fitted to clean samples, or
        None where there is none.
    """
    with threadpool_limits(1):
        baselines = Baselines(model, _solvable(train, math.prod(model.input_shape[1:])))
    totals, samples = {}, 0
    for inputs, clean in evaluation_pairs(model, test.inputs(), VALIDATION_SEED):
        outputs = {"mse": model.predict_on_batch(inputs)}
        for key, output in baselines.reconstruct(inputs).items():
            # PCA is that of the report instead, which is fitted to all samples.
            if key != "pca":
                outputs[f"{key}_mse"] = output
        if pca is not None:
            outputs["pca"] = pca.predict_on_batch(inputs)
        for key, output in outputs.items():
            error = float(_sample_errors(output, clean).sum())
            totals[key] = totals.get(key, 0.0) + error
        samples += len(clean)
    means = {key: total / samples for key, total in totals.items()}
    pca_error = means.pop("pca", None)
    return {f"corrupted_{key}": mean for key, mean in means.items()}, pca_error


def code_figures(name: str, model, train: Part, test: Part, pooling, steps) -> dict:
    """What frozen codes are worth: probes, clusters, and one class against the rest."""
    # Small codes are probed whole, where `pooled` would average over their places.
    if pooling is None and model.code_size <= LARGEST_CODE:
        pooling = "flatten"
    network, parts = pooled(encoder_of(model), pooling), []
    for part, word in ((train, "training"), (test, "test")):
        kept = Thinned(max(1, PROBE_VALUES // network.output_shape[-1]))
        for batch, labels in steps(f"{name}: {word} codes", part.batches(), part.steps):
            kept.add(network.predict_on_batch(batch), labels)
        parts += kept.columns
    x, y, test_x, test_y = parts
    if len(np.unique(y)) < 2:
        return {}
    with steps(f"{name}: probes"), threadpool_limits(1):
        found = {
            "linear_probe": probe(x, y, test_x, test_y).accuracy,
            "knn": neighbour_probe(x, y, test_x, test_y).accuracy,
            **_clusters(x, y, test_x, test_y),
        }
        by_class = one_class_scores(x, y, test_x, test_y)
    if by_class:
        mean = float(np.mean(list(by_class.values())))
        found["one_class_auroc"] = {"mean": mean, "by_class": by_class}
    return found


def one_class_scores(x, y, test_x, test_y) -> dict[str, float]:
    """AUROC of each class: how well the distance from its training codes tells it.

    The distance is Mahalanobis' from the mean of the class, by the Ledoit-Wolf covariance of
    its training codes; test samples of the class are told from those of all others.
    """
    from sklearn.covariance import LedoitWolf
    from sklearn.metrics import roc_auc_score

    found = {}
    for label in np.unique(y):
        inside = test_y == label
        if inside.any() and not inside.all() and (y == label).sum() > 1:
            # Shrunk, as the covariance of few codes with many values has no inverse.
            fitted = LedoitWolf().fit(x[y == label])
            distances = fitted.mahalanobis(test_x)
            found[str(label)] = float(roc_auc_score(inside, -distances))
    return found


def speed(model, x) -> dict[str, float]:
    """Samples per second of `encode` and `reconstruct`, the better of two runs.

    A model without a code has no `encode`.
    """
    samples = max(len(x), min(TIMED_SAMPLES, KEPT_VALUES // x[0].size))
    x, found = np.resize(x, (samples, *x.shape[1:])), {}
    for key in ("reconstruct",) if model.code_size is None else ("encode", "reconstruct"):
        run, seconds = getattr(model, key), []
        # Not timed: the first call compiles.
        run(x)
        for _ in range(2):
            begun = time.perf_counter()
            run(x)
            seconds.append(time.perf_counter() - begun)
        found[f"{key}_per_second"] = len(x) / min(seconds)
    return found


def sizes(model) -> dict:
    """Parameters, size of the code, and bits where the code is counted in bits."""
    found = {"parameters": model.count_params()}
    if model.code_size is not None:
        found["code_size"] = model.code_size
    bits = getattr(model, "bits_per_sample", None)
    return found if bits is None else {**found, "bits_per_sample": bits}


def _clusters(x, y, test_x, test_y) -> dict[str, float]:
    """Clusters of training codes, one per class; test codes belong to the nearest one."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    few = x[:: max(1, len(x) // CLUSTER_SAMPLES)]
    # k-means ends in a local optimum, so the best of four starts is taken.
    clusters = KMeans(len(np.unique(y)), n_init=4, random_state=0).fit(few).predict(test_x)
    return {
        "kmeans_nmi": float(normalized_mutual_info_score(test_y, clusters)),
        "kmeans_ari": float(adjusted_rand_score(test_y, clusters)),
    }


def _sample_errors(output, x) -> np.ndarray:
    # In float64, as the errors of a whole data set are added up.
    return np.square(output - x, dtype="float64").reshape(len(x), -1).mean(1)


def _smallest(kept, kept_errors, x, errors):
    """The samples of the smallest errors, smallest first."""
    all_errors = np.concatenate([kept_errors, errors])
    # Stable: of equal errors the first in the data are shown, in every run.
    order = np.argsort(all_errors, kind="stable")[:EXTREMES]
    return np.concatenate([kept, x])[order], all_errors[order]
