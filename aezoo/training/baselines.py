"""The linear maps that a run is compared with, its metrics and its picture."""

from __future__ import annotations

import math

import numpy as np

from aezoo.inputs.training_data import output_range
from aezoo.metrics import score
from aezoo.model_classes.reconstruction_model import VALIDATION_SEED, evaluation_pairs

# How many values of the training data the baselines see: 0.8 GB in float32, twice that with the
# corrupted inputs of a denoising model.
BASELINE_VALUES = 200_000_000
# A ridge map needs a matrix of features x features: 17 million values at this limit, 151 million
# for RGB images of 64x64.
LARGEST_MAP = 4096


class Baselines:
    """Linear maps fitted to the same data: PCA and, for a denoising model, affine maps.

    - "pca": PCA of the code's size, fitted to clean samples; none for a model without a code.
    - "affine", only where the model has corruption: the best affine map from corrupted to
      clean samples, by ridge regression; no code limits it.
    - "affine_rank", where there is a code too: the best affine map whose rank is its size. It is
      the fair linear rival of a denoising model, where PCA reproduces the noise.

    All of them are clipped to the range of the decoder's outputs, which the model cannot leave
    either.

    Args:
        model: The `ReconstructionModel` that they are compared with.
        training_data: Dataset or array of inputs; the first `BASELINE_VALUES` values of it
            are used.
    """

    def __init__(self, model, training_data):
        from sklearn.decomposition import PCA

        size, corrupted = math.prod(model.input_shape[1:]), model.corruption is not None
        clean, seen = [], []
        # Another seed than that of `measure`: a map must not be measured on the very noise that it
        # was fitted to, where training and test data are the same.
        for inputs, target in evaluation_pairs(model, training_data, seed=VALIDATION_SEED + 1):
            clean.append(target.reshape(len(target), -1))
            if corrupted:
                seen.append(inputs.reshape(len(inputs), -1))
            if sum(map(len, clean)) * size >= BASELINE_VALUES:
                break
        clean = np.concatenate(clean)
        self.samples = len(clean)
        code_size = model.code_size
        # scikit-learn's PCA refuses more components than there are samples or features.
        self.latent_dim = None if code_size is None else min(code_size, *clean.shape)
        self._range = output_range(model)
        # The covariance is exact and fast where samples outnumber features. With few samples it is
        # singular, with many features too large, so the leading directions are found without it.
        solver = "covariance_eigh" if size <= 4096 and self.samples > size else "randomized"

        def fit_pca(x):
            return PCA(self.latent_dim, svd_solver=solver, random_state=0).fit(x)

        has_code = self.latent_dim is not None
        self._pca, self._affine = fit_pca(clean) if has_code else None, None
        if corrupted:
            seen = np.concatenate(seen)
            self._affine = _affine_map(seen, clean)
            # Reduced-rank regression (Izenman, 1975): the fitted values of the full map, projected
            # onto their own leading principal components.
            self._reduced = fit_pca(self._affine(seen)) if has_code else None

    def reconstruct(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of each baseline for a batch that is in [0, 1] already."""
        flat = inputs.reshape(len(inputs), -1)
        outputs = {} if self._pca is None else {"pca": _project(self._pca, flat)}
        if self._affine is not None:
            outputs["affine"] = self._affine(flat)
            if self._reduced is not None:
                outputs["affine_rank"] = _project(self._reduced, outputs["affine"])
        # Clipping alone can turn a ranking around: a bounded activation keeps outputs in its range,
        # which a linear map leaves.
        return {
            name: np.clip(output, *self._range).reshape(inputs.shape)
            for name, output in outputs.items()
        }


def _affine_map(seen, clean):
    """The best affine map from what is seen to what is clean, by ridge regression."""
    # scikit-learn sums squared errors over the samples, so the penalty grows with their number.
    if seen.shape[1] <= LARGEST_MAP:
        from sklearn.linear_model import Ridge

        return Ridge(alpha=1e-3 * len(seen), solver="cholesky").fit(seen, clean).predict
    from sklearn.kernel_ridge import KernelRidge

    # The same map by its dual, whose matrix is samples x samples, so their number is limited too.
    seen, clean = seen[:LARGEST_MAP], clean[:LARGEST_MAP]
    # KernelRidge fits no intercept, so inputs and targets are centred here.
    middle, mean = seen.mean(0), clean.mean(0)
    found = KernelRidge(alpha=1e-3 * len(seen), kernel="linear").fit(seen - middle, clean - mean)
    return lambda x: found.predict(x - middle) + mean


def _project(pca, x):
    return pca.inverse_transform(pca.transform(x))


def measure(model, test_data, baselines: Baselines) -> dict:
    """Mean squared error of the model and the `Baselines` on a dataset.

    PSNR is included where all clean samples lie in [0, 1]; elsewhere it has no meaning.
    A denoising model is measured on inputs that are corrupted once, with a fixed seed, and so
    are the baselines and the noisy input itself.
    """
    totals, samples, values, in_unit_range = {}, 0, 0, True
    for inputs, target in evaluation_pairs(model, test_data, seed=VALIDATION_SEED):
        outputs = {"model": model.predict_on_batch(inputs), **baselines.reconstruct(inputs)}
        if model.corruption is not None:
            outputs["noisy"] = inputs
        for name, output in outputs.items():
            # Summed in float64, as a float32 sum over a whole data set loses its last digits.
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
    # Readers of metrics.json, such as the command line, rely on the key `pca` of every model.
    if baselines.latent_dim is None:
        scores["pca"] = {"latent_dim": None, "why": f"{model.name} has no code"}
    # The model's own scores are at the top level; `pop` comes first, so `**scores` lacks them.
    return {
        **scores.pop("model"),
        "samples": samples,
        **scores,
        "baseline_samples": baselines.samples,
    }


def picture(model, test_data, baselines: Baselines, columns: int = 10):
    """Rows of inputs, corrupted inputs where there are any, outputs, and a linear baseline.

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
    # The strongest rival first: a map of the code's rank restores what PCA would leave noisy.
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
