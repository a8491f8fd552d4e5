"""Registered Keras losses in nats per sample: the likelihoods of variational autoencoders.

Each sums over the elements of a sample, so that it stands beside a divergence of the code as
the evidence lower bound wants it.
"""

import math

import keras
from keras import ops

from aezoo.layers.reporting import batch_mean


class NatsLoss(keras.losses.Loss):
    """What the losses share: `nats`, one value a sample, and the rank that Keras expects.

    A `VariationalAutoencoder` that is compiled with one gives it the layer that draws the
    codes, and the metric that reports the reconstruction.
    """

    sampling = None
    reconstruction = None

    def nats(self, y_true, y_pred):
        """(batch,) from (batch, *shape) twice."""
        raise NotImplementedError

    def call(self, y_true, y_pred):
        samples = self.sampling.samples if self.sampling is not None else 1
        drawn = samples > 1 and self.sampling.log_ratio is not None
        if drawn:
            values, reconstruction = self._importance_weighted(y_true, y_pred, samples)
        else:
            values = reconstruction = self.nats(y_true, y_pred)
        if self.reconstruction is not None:
            self.reconstruction.update_state(reconstruction)
        return ops.reshape(values, (-1, *[1] * (len(y_true.shape) - 2)))

    def _importance_weighted(self, y_true, y_pred, samples):
        """The bound of Burda, Grosse and Salakhutdinov, 2016, from several codes a sample."""
        nats = self.nats(ops.repeat(y_true, samples, 0), y_pred)
        logs = ops.reshape(-nats - self.sampling.log_ratio, (-1, samples))
        bound = ops.logsumexp(logs, -1) - math.log(samples)
        return -bound, nats


def _sum(values):
    return ops.sum(ops.reshape(values, (ops.shape(values)[0], math.prod(values.shape[1:]))), -1)


@keras.saving.register_keras_serializable("aezoo")
class BernoulliLikelihood(NatsLoss):
    """Cross-entropy of elements in [0, 1] with the probabilities that the decoder returns.

    It is a likelihood where the data are 0 and 1; of grey pixels it is the usual stand-in.

    Example:

    >>> x = np.full((2, 4), 0.5, "float32")
    >>> round(float(BernoulliLikelihood()(x, x)), 4), round(4 * math.log(2), 4)
    (2.7726, 2.7726)
    """

    def __init__(self, name="bernoulli_likelihood", **kwargs):
        super().__init__(name=name, **kwargs)

    def nats(self, y_true, y_pred):
        y_pred = ops.clip(y_pred, 1e-7, 1 - 1e-7)
        return -_sum(y_true * ops.log(y_pred) + (1 - y_true) * ops.log(1 - y_pred))


@keras.saving.register_keras_serializable("aezoo")
class GaussianLikelihood(NatsLoss):
    """Negative log-density of the data around the reconstruction.

    Args:
        variance: A number; "learnt" is one weight of the model; "optimal" is the mean
            squared error of the batch, where the density is the largest.

    Example:

    >>> x = np.zeros((2, 4), "float32")
    >>> round(float(GaussianLikelihood(1.0)(x, x)), 4), round(2 * math.log(2 * math.pi), 4)
    (3.6758, 3.6758)

    Reference:
        Rybkin, Daniilidis, Levine, 2021, "Simple and Effective VAE Training with Calibrated
        Decoders", https://arxiv.org/abs/2006.13202
    """

    def __init__(self, variance="optimal", name="gaussian_likelihood", **kwargs):
        super().__init__(name=name, **kwargs)
        self.variance = variance
        self.variance_layer = None  # of the model, where it is learnt

    def nats(self, y_true, y_pred):
        squares = _sum(ops.square(y_true - y_pred))
        size = math.prod(y_true.shape[1:])
        if self.variance_layer is not None:
            log_variance = ops.cast(self.variance_layer.log_variance, squares.dtype)
        elif self.variance == "optimal":
            log_variance = ops.log(ops.stop_gradient(batch_mean(squares)) / size + 1e-7)
        else:
            log_variance = ops.log(ops.cast(self.variance, squares.dtype))
        constant = 0.5 * size * (math.log(2 * math.pi) + log_variance)
        return constant + 0.5 * squares * ops.exp(-log_variance)

    def get_config(self):
        return {**super().get_config(), "variance": self.variance}


@keras.saving.register_keras_serializable("aezoo")
class SummedLoss(NatsLoss):
    """Any Keras loss of elements, summed over the elements of a sample.

    Args:
        loss: Name of a Keras loss, or one.

    Example:

    >>> float(SummedLoss("mse")(np.zeros((2, 4), "float32"), np.ones((2, 4), "float32")))
    4.0
    """

    def __init__(self, loss, name="summed_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.loss = keras.losses.get(loss)

    def nats(self, y_true, y_pred):
        values = getattr(self.loss, "call", self.loss)(y_true, y_pred)
        return _sum(values[..., None]) * y_true.shape[-1]

    def get_config(self):
        return {**super().get_config(), "loss": keras.losses.serialize(self.loss)}
