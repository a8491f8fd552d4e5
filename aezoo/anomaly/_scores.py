"""What can be said of a sample to tell normal from strange: larger is stranger."""

from __future__ import annotations

import numpy as np

from aezoo.model_classes.generative import VariationalAutoencoder
from aezoo.model_classes.pooling import encoder_of, pooled


class ReconstructionError:
    """The mean squared error of a sample; there is nothing to estimate."""

    needs_reference = False

    def __init__(self, model, neighbors, pooling=None):
        self.model, self.neighbors = model, neighbors
        self.arrays: dict[str, np.ndarray] = {}  # what `fit` estimated

    def measure(self, x, batch_size) -> np.ndarray:
        """What is looked at of each sample: (samples,) or (samples, size)."""
        return self.model.reconstruction_error(x, batch_size)

    def example(self) -> np.ndarray:
        """What `measure` could return for one sample."""
        return np.zeros(1)

    def fit(self, measured) -> None:
        """Estimates `arrays` of normal samples."""

    def score(self, measured) -> np.ndarray:
        return measured


class NegativeLikelihood(ReconstructionError):
    """Minus log p(x) of a variational autoencoder, in nats."""

    def __init__(self, model, neighbors, pooling=None):
        super().__init__(model, neighbors)
        if not isinstance(model, VariationalAutoencoder):
            raise ValueError(
                "`score` must be another than 'likelihood' for a model without one. "
                f"Received: a {type(model).__name__}"
            )
        if getattr(model.loss, "variance", None) == "optimal":
            raise ValueError(
                "`score` 'likelihood' must have a model with a variance of its own, "
                "vae(likelihood='gaussian', variance='learnt'). Received: variance 'optimal', "
                "which depends on what else is scored"
            )

    def measure(self, x, batch_size):
        return -self.model.log_likelihood(x, batch_size=batch_size)


class Codes(ReconstructionError):
    """Scores of the code, one vector a sample, beside normal codes."""

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

        found = LedoitWolf().fit(measured.astype("float64"))
        self.arrays = {"mean": found.location_, "precision": found.precision_}

    def score(self, measured):
        centred = measured - self.arrays["mean"]
        return np.einsum("ij,ij->i", centred @ self.arrays["precision"], centred)


class Nearest(Codes):
    """The mean distance to the nearest of the normal codes."""

    def fit(self, measured):
        if len(measured) < self.neighbors:
            raise ValueError(
                f"`neighbors` must be at most the number of reference samples, {len(measured)}. "
                f"Received: {self.neighbors}"
            )
        self.arrays = {"codes": measured}

    def score(self, measured):
        from sklearn.neighbors import NearestNeighbors

        found = NearestNeighbors(n_neighbors=self.neighbors).fit(self.arrays["codes"])
        return found.kneighbors(measured)[0].mean(1)


SCORES = {
    "reconstruction": ReconstructionError,
    "likelihood": NegativeLikelihood,
    "mahalanobis": Mahalanobis,
    "nearest": Nearest,
}
