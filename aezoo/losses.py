"""Registered Keras losses in nats per sample: the likelihoods of variational autoencoders.

Each is summed over the elements of a sample, so that it can be added to a divergence of the code,
as in the evidence lower bound.
"""

import math

import keras
from keras import ops

from aezoo.layers.reporting import batch_mean


class NatsLoss(keras.losses.Loss):
    """What the losses share: `nats`, one value per sample, and the rank that Keras expects."""

    def nats(self, y_true, y_pred, log_variance=None):
        """(batch,) from (batch, *shape) twice, and a learnt log-variance where there is one."""
        raise NotImplementedError

    def call(self, y_true, y_pred):
        # Keras multiplies by weights of the rank of the data without its last axis.
        return ops.reshape(self.nats(y_true, y_pred), (-1, *[1] * (len(y_true.shape) - 2)))


def _sum(values):
    return ops.sum(ops.reshape(values, (ops.shape(values)[0], math.prod(values.shape[1:]))), -1)


@keras.saving.register_keras_serializable("aezoo")
class BernoulliLikelihood(NatsLoss):
    """Cross-entropy of elements in [0, 1] with the probabilities that the decoder returns.

    It is a likelihood if the data are 0 and 1; for grey pixels it is the usual substitute.

    Example:

    >>> x = np.full((2, 4), 0.5, "float32")
    >>> round(float(BernoulliLikelihood()(x, x)), 4), round(4 * math.log(2), 4)
    (2.7726, 2.7726)
    """

    def __init__(self, name="bernoulli_likelihood", **kwargs):
        super().__init__(name=name, **kwargs)

    def nats(self, y_true, y_pred, log_variance=None):
        # A sigmoid rounds to 0 and 1, whose logarithms are infinite.
        y_pred = ops.clip(y_pred, 1e-7, 1 - 1e-7)
        return -_sum(y_true * ops.log(y_pred) + (1 - y_true) * ops.log(1 - y_pred))


@keras.saving.register_keras_serializable("aezoo")
class GaussianLikelihood(NatsLoss):
    """Negative log-density of the data around the reconstruction.

    Args:
        variance: A number, "learnt" or "optimal". "learnt" is one weight of the model, which hands
            it over (1 outside of a model). "optimal" is the mean squared error of the batch, where
            the density is the largest.

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

    def nats(self, y_true, y_pred, log_variance=None):
        squares = _sum(ops.square(y_true - y_pred))
        size = math.prod(y_true.shape[1:])
        if self.variance == "learnt":
            log_variance = ops.cast(0.0 if log_variance is None else log_variance, squares.dtype)
        elif self.variance == "optimal":
            # At the optimal variance the gradient with respect to it is 0, so none is passed.
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
        loss: Name of a Keras loss, or a Keras loss.

    Example:

    >>> float(SummedLoss("mse")(np.zeros((2, 4), "float32"), np.ones((2, 4), "float32")))
    4.0
    """

    def __init__(self, loss, name="summed_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.loss = keras.losses.get(loss)

    def nats(self, y_true, y_pred, log_variance=None):
        # `call` of a loss has a value per element of all axes but the last, of which it takes the
        # mean; multiplied by its length, that is the sum.
        values = getattr(self.loss, "call", self.loss)(y_true, y_pred)
        return _sum(values[..., None]) * y_true.shape[-1]

    def get_config(self):
        return {**super().get_config(), "loss": keras.losses.serialize(self.loss)}
