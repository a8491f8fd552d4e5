"""The linear maps that a run stands beside, its figures and its picture."""

from __future__ import annotations

import math

import numpy as np

from aezoo.inputs.training_data import output_range
from aezoo.metrics import score
from aezoo.model_classes.reconstruction_model import VALIDATION_SEED, evaluation_pairs

BASELINE_VALUES = 200_000_000  # numbers of training data that the baselines may look at
LARGEST_MAP = 4096  # features; the matrix of a larger affine map would be of gigabytes


class Baselines:
    """What linear maps make of the same data: PCA and, for a denoising model, affine maps.

    - "pca": PCA of the code's size, fitted to clean samples; none for a model without a code.
    - "affine", only where the model has corruption: the best affine map from corrupted to
      clean samples, by ridge regression; no code limits it.
    - "affine_rank", where there is a code too: the best affine map whose rank is its size. It is
      the fair linear rival of a denoising model, where PCA reproduces the noise.

    All of them are clipped to the range of the decoder's outputs, which the model cannot leave
    either.

    Args:
        model: The `ReconstructionModel` they are compared with.
        training_data: Dataset or array of inputs; the first `BASELINE_VALUES` numbers of it
            are used.
    """

    def __init__(self, model, training_data):
        from sklearn.decomposition import PCA

        size, corrupted = math.prod(model.input_shape[1:]), model.corruption is not None
        clean, seen = [], []
        for inputs, target in evaluation_pairs(model, training_data, seed=VALIDATION_SEED + 1):
            clean.append(target.reshape(len(target), -1))
            if corrupted:
                seen.append(inputs.reshape(len(inputs), -1))
            if sum(map(len, clean)) * size >= BASELINE_VALUES:
                break
        clean = np.concatenate(clean)
        self.samples = len(clean)
        code_size = model.code_size
        self.latent_dim = None if code_size is None else min(code_size, *clean.shape)
        self._range = output_range(model)
        solver = "covariance_eigh" if size <= 4096 and self.samples > size else "randomized"

        def fit_pca(x):
            return PCA(self.latent_dim, svd_solver=solver, random_state=0).fit(x)

        has_code = self.latent_dim is not None
        self._pca, self._affine = fit_pca(clean) if has_code else None, None
        if corrupted:
            seen = np.concatenate(seen)
            self._affine = _affine_map(seen, clean)
            # Reduced-rank regression: the full map, then the directions that most of what it
            # finds lies along.
            self._reduced = fit_pca(self._affine(seen)) if has_code else None

    def reconstruct(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of each baseline for a batch that is in [0, 1] already."""
        flat = inputs.reshape(len(inputs), -1)
        outputs = {} if self._pca is None else {"pca": _project(self._pca, flat)}
        if self._affine is not None:
            outputs["affine"] = self._affine(flat)
            if self._reduced is not None:
                outputs["affine_rank"] = _project(self._reduced, outputs["affine"])
        return {
            name: np.clip(output, *self._range).reshape(inputs.shape)
            for name, output in outputs.items()
        }


def _affine_map(seen, clean):
    """The best affine map from what is seen to what is clean, by ridge regression."""
    alpha = 1e-3 * len(seen)
    if seen.shape[1] <= LARGEST_MAP:
        from sklearn.linear_model import Ridge

        return Ridge(alpha=alpha, solver="cholesky").fit(seen, clean).predict
    from sklearn.kernel_ridge import KernelRidge

    # The same map by its dual, which costs the square of the samples and not of the features.
    seen, clean = seen[:LARGEST_MAP], clean[:LARGEST_MAP]
    middle, mean = seen.mean(0), clean.mean(0)
    found = KernelRidge(alpha=alpha, kernel="linear").fit(seen - middle, clean - mean)
    return lambda x: found.predict(x - middle) + mean


def _project(pca, x):
    return pca.inverse_transform(pca.transform(x))


def measure(model, test_data, baselines: Baselines) -> dict:
    """Mean squared error of the model and the `Baselines` on a dataset.

    PSNR is among the figures where all clean samples lie in [0, 1]; elsewhere it means nothing.
    A denoising model is measured on inputs corrupted once, with a fixed seed, and so
    are the baselines and the noisy input itself.
    """
    totals, samples, values, in_unit_range = {}, 0, 0, True
    for inputs, target in evaluation_pairs(model, test_data, seed=VALIDATION_SEED):
        outputs = {"model": model.predict_on_batch(inputs), **baselines.reconstruct(inputs)}
        if model.corruption is not None:
            outputs["noisy"] = inputs
        for name, output in outputs.items():
            totals[name] = totals.get(name, 0.0) + float(
                np.square(output - target, dtype="float64").sum()
            )
        in_unit_range &= bool(target.min() >= 0 and target.max() <= 1)
        samples += len(target)
        values += target.size
    scores = {name: score(total / values, in_unit_range) for name, total in totals.items()}
    for name in ("pca", "affine_rank"):
        if name in scores:
            scores[name]["latent_dim"] = baselines.latent_dim
    if baselines.latent_dim is None:
        scores["pca"] = {"latent_dim": None, "why": f"{model.name} has no code"}
    return {
        **scores.pop("model"),
        "samples": samples,
        **scores,
        "baseline_samples": baselines.samples,
    }


def picture(model, test_data, baselines: Baselines, columns: int = 10):
    """Inputs, what the net saw of them where that differs, outputs, a linear baseline.

    The baseline is PCA of the code's size; for a denoising model the best affine map whose
    rank is that size, or of any rank where the model has no code.
    """
    import aezoo.plots as plots

    inputs, target = next(evaluation_pairs(model, test_data, seed=VALIDATION_SEED))
    inputs, target = inputs[:columns], target[:columns]
    rows = {"input": target}
    if model.corruption is not None:
        rows["corrupted"] = inputs
    rows["output"] = model.predict_on_batch(inputs)
    labels = {
        "affine_rank": f"affine, rank {baselines.latent_dim}",
        "affine": "affine",
        "pca": f"PCA {baselines.latent_dim}",
    }
    linear = baselines.reconstruct(inputs)
    strongest = next((key for key in labels if key in linear), None)
    if strongest is not None:
        rows[labels[strongest]] = linear[strongest]
    return plots.image_rows(rows)
