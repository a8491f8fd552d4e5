"""How well a model reconstructs, with linear baselines of the same data beside it."""

from __future__ import annotations

import math

import numpy as np

from aezoo import _checks
from aezoo._autoencoder import VALIDATION_SEED
from aezoo._output_range import output_range
from aezoo._pixels import scale_pixels

BASELINE_VALUES = 200_000_000  # numbers of training data that the baselines may look at


class Baselines:
    """PCA of the model's code size; for a denoising model the best affine map as well.

    Both are fitted on what the encoder sees in training, corrupted where it is, and
    clipped to [0, 1] where the decoder's outputs lie there.

    Args:
        model: The `Autoencoder` they are compared with.
        training_data: Dataset of inputs; the first `BASELINE_VALUES` numbers of it are
            used.
    """

    def __init__(self, model, training_data):
        from sklearn.decomposition import PCA
        from sklearn.linear_model import Ridge

        self._shape = model.input_shape[1:]
        size = math.prod(self._shape)
        clean, seen = [], []
        for inputs, target in _pairs(model, training_data, seed=VALIDATION_SEED + 1):
            seen.append(inputs.reshape(len(inputs), -1))
            clean.append(target.reshape(len(target), -1))
            if sum(map(len, seen)) * size >= BASELINE_VALUES:
                break
        seen = np.concatenate(seen)
        self.samples = len(seen)
        self.latent_dim = min(math.prod(model.encoder.output_shape[1:]), *seen.shape)
        low, high = output_range(model.decoder)
        self._clip = (low, high) if (low, high) == (0, 1) else None
        solver = "covariance_eigh" if size <= 4096 and self.samples > size else "randomized"
        self._maps = {"pca": PCA(self.latent_dim, svd_solver=solver, random_state=0).fit(seen)}
        if model.corruption is not None:
            self._maps["affine"] = Ridge(alpha=1e-3 * len(seen), solver="cholesky").fit(
                seen, np.concatenate(clean)
            )

    def reconstruct(self, inputs: np.ndarray) -> dict[str, np.ndarray]:
        """The outputs of each baseline for a batch that is in [0, 1] already."""
        flat = inputs.reshape(len(inputs), -1)
        outputs = {}
        for name, fitted in self._maps.items():
            if name == "pca":
                output = fitted.inverse_transform(fitted.transform(flat))
            else:
                output = fitted.predict(flat)
            output = output.reshape(inputs.shape)
            outputs[name] = np.clip(output, *self._clip) if self._clip else output
        return outputs


def measure(model, test_data, baselines: Baselines) -> dict:
    """Mean squared error and PSNR of the model and the baselines on a dataset.

    A denoising model is measured on inputs corrupted once, with a fixed seed, and so
    are the baselines and the noisy input itself.
    """
    totals, samples, values = {}, 0, 0
    for inputs, target in _pairs(model, test_data, seed=VALIDATION_SEED):
        outputs = {"model": model.predict_on_batch(inputs), **baselines.reconstruct(inputs)}
        if model.corruption is not None:
            outputs["noisy"] = inputs
        for name, output in outputs.items():
            totals[name] = totals.get(name, 0.0) + float(
                np.square(output - target, dtype="float64").sum()
            )
        samples += len(target)
        values += target.size
    scores = {name: score(total / values) for name, total in totals.items()}
    scores["pca"]["latent_dim"] = baselines.latent_dim
    return {
        **scores.pop("model"),
        "samples": samples,
        **scores,
        "baseline_samples": baselines.samples,
    }


def score(mse: float) -> dict:
    """PSNR in dB is 10 log10(1 / MSE), for values in [0, 1]."""
    return {"mse": mse, "psnr": 10 * math.log10(1 / mse) if mse > 0 else math.inf}


def picture(model, test_data, baselines: Baselines, columns: int = 10):
    """Inputs, what the encoder saw of them where that differs, outputs, PCA's outputs."""
    from aezoo import plots

    inputs, target = next(_pairs(model, test_data, seed=VALIDATION_SEED))
    inputs, target = inputs[:columns], target[:columns]
    rows = {"input": target}
    if model.corruption is not None:
        rows["corrupted"] = inputs
    rows["output"] = model.predict_on_batch(inputs)
    rows[f"PCA {baselines.latent_dim}"] = baselines.reconstruct(inputs)["pca"]
    return plots.image_rows(rows)


def _pairs(model, dataset, seed):
    """(what the encoder sees, the clean target) as float arrays, batch by batch."""
    if model.corruption is not None:
        pairs = model._corrupted_pairs(dataset, seed)
    else:
        pairs = (batch if isinstance(batch, tuple) else (batch, batch) for batch in dataset)
    for inputs, target in pairs:
        yield _checks.to_numpy(scale_pixels(inputs)), _checks.to_numpy(scale_pixels(target))
