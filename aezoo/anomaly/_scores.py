"""Scores that tell normal samples from anomalies: larger is more anomalous."""

from __future__ import annotations

import numpy as np

from aezoo.model_classes.generative import VariationalAutoencoder
from aezoo.model_classes.pooling import encoder_of, pooled


class ReconstructionError:
    """The mean squared error of each sample; there is nothing to estimate."""

    needs_reference = False

    def __init__(self, model, neighbors, pooling=None):
        self.model, self.neighbors = model, neighbors
        self.arrays: dict[str, np.ndarray] = {}  # what `fit` estimated

    def measure(self, x, batch_size) -> np.ndarray:
        """What the score is computed from: (samples,) or (samples, size)."""
        return self.model.reconstruction_error(x, batch_size)

    def example(self) -> np.ndarray:
        """What `measure` could return for one sample."""
        return np.zeros(1)

    def fit(self, measured) -> None:
        """Estimates `arrays` from normal samples."""

    def score(self, measured) -> np.ndarray:
        return measured


class NegativeLikelihood(ReconstructionError):
    """Minus log p(x) of a variational autoencoder, in nats."""

    def __init__(self, model, neighbors, pooling=None):
        super().__init__(model, neighbors)
        if not isinstance(model, VariationalAutoencoder):
            raise ValueError(
                "`score` must not be 'likelihood' for a model without one. "
                f"Received: a {type(model).__name__}"
            )
        # The optimal variance is that of the samples scored together, so that a score would depend
        # on its batch, and a threshold would not hold for others.
        if getattr(model.loss, "variance", None) == "optimal":
            raise ValueError(
                "`score` 'likelihood' must have a model with its own variance, such as "
                "vae(likelihood='gaussian', variance='learnt'). Received: variance 'optimal', "
                "which depends on what else is scored"
            )

    def measure(self, x, batch_size):
        return -self.model.log_likelihood(x, batch_size=batch_size)


class Codes(ReconstructionError):
    """Scores of the code, one vector per sample, relative to normal codes."""

    needs_reference = True

    def __init__(self, model, neighbors, pooling):
        super().__init__(model, neighbors)
        self.network = pooled(encoder_of(model), pooling)

    def measure(self, x, batch_size):
        return self.model._predict(self.network, x, batch_size)

    def example(self):
        return np.zeros((1, self.network.output_shape[-1]), "float32")


class Mahalanobis(Codes):
    """The squared Mahalanobis distance to the mean code, with a shrunk covariance.

    Reference:
        Ledoit, Wolf, 2004, "A well-conditioned estimator for large-dimensional covariance
        matrices", https://doi.org/10.1016/S0047-259X(03)00096-4
    """

    def fit(self, measured):
        from sklearn.covariance import LedoitWolf

        # Shrunk, as the covariance of fewer normal codes than dimensions has no inverse; in
        # float64, as the inverse magnifies rounding.
        found = LedoitWolf().fit(measured.astype("float64"))
        self.arrays = {"mean": found.location_, "precision": found.precision_}

    def score(self, measured):
        centred = measured - self.arrays["mean"]
        # Row by row, the diagonal of C P C' without the matrix of all pairs of samples.
        return np.einsum("ij,ij->i", centred @ self.arrays["precision"], centred)


class Nearest(Codes):
    """The mean distance to the nearest normal codes."""

    def fit(self, measured):
        if len(measured) < self.neighbors:
            raise ValueError(
                f"`neighbors` must be at most the number of reference samples, {len(measured)}. "
                f"Received: {self.neighbors}"
            )
        self.arrays = {"codes": measured}

    def score(self, measured):
        from sklearn.neighbors import NearestNeighbors

        # Built in each call: only arrays are saved, as a fitted scikit-learn object needs pickle.
        found = NearestNeighbors(n_neighbors=self.neighbors).fit(self.arrays["codes"])
        return found.kneighbors(measured)[0].mean(1)


SCORES = {
    "reconstruction": ReconstructionError,
    "likelihood": NegativeLikelihood,
    "mahalanobis": Mahalanobis,
    "nearest": Nearest,
}
