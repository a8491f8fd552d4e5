"""The code of a variational autoencoder: drawn in training, and kept near the prior."""

import keras
import numpy as np
from keras import ops

from aezoo.backends.replica_step import OfReplica, gather_over_replicas
from aezoo.inputs.arguments import check_seed
from aezoo.layers._draws import EvaluationDraws
from aezoo.layers.reporting import (
    add_batch_penalty,
    add_penalty,
    batch_mean,
    batch_weights,
    reporting,
)
from aezoo.metrics import ActiveUnits

LARGEST_LOG_VARIANCE = 20.0


@keras.saving.register_keras_serializable("aezoo")
class Sampling(keras.layers.Layer):
    """Codes from the mean and log-variance of a gaussian posterior, with the KL divergence.

    In training, and where `drawing` is set, codes are drawn; otherwise they are the mean. The
    divergence from the standard normal prior is added to the loss in nats per sample.

    Args:
        beta: Weight of the divergence; 1 is the evidence lower bound.
        free_bits: Nats per unit of the code below which the divergence, averaged over the
            batch, is not lowered further.
        warmup_steps: Training steps over which the weight rises from 0 to `beta`; an
            evaluation has the whole weight.
        samples: Codes drawn for each sample; with more than 1 the divergence is left to the
            loss, which finds it in `log_ratio`.
        seed: Integer that fixes the draws, or None.

    Input is (batch, 2 * latent_dim), the mean and then the log-variance; output is
    (batch, latent_dim), or (batch * samples, latent_dim) where codes are drawn.

    Example:

    >>> layer = Sampling(seed=0)
    >>> codes = layer(np.zeros((3, 8), "float32"))
    >>> codes.shape, float(layer.losses[0])
    (TensorShape([3, 4]), 0.0)

    Reference:
        Kingma, Welling, 2014, "Auto-Encoding Variational Bayes",
        https://arxiv.org/abs/1312.6114; Kingma et al., 2016, "Improved Variational Inference
        with Inverse Autoregressive Flow" (free bits), https://arxiv.org/abs/1606.04934
    """

    drawing = OfReplica()
    log_ratio = OfReplica()

    def __init__(self, beta=1.0, free_bits=0.0, warmup_steps=0, samples=1, *, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.beta, self.free_bits, self.warmup_steps = beta, free_bits, warmup_steps
        self.samples, self.seed = samples, check_seed("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.evaluation = EvaluationDraws()
        self.kl = self.active_units = self.reconstruction = None
        if keras.backend.backend() != "jax":  # where Keras drops the metrics of layers
            self.kl = keras.metrics.Mean(name="kl")
            self.reconstruction = keras.metrics.Mean(name="reconstruction")  # told by the loss

    def build(self, input_shape):
        if self.kl is not None:
            self.active_units = ActiveUnits(input_shape[-1] // 2)
        if self.warmup_steps:
            self.step = self.add_weight(name="step", initializer="zeros", trainable=False)

    def call(self, parameters, training=None):
        precise = ops.cast(parameters, self.variable_dtype)  # exponentials are too large for less
        mean, log_variance = self.distribution(precise)
        if not reporting():
            return ops.cast(mean, self.compute_dtype)
        divergence = 0.5 * (mean * mean + ops.exp(log_variance) - 1 - log_variance)
        self._report(mean, divergence)
        if self.samples == 1 and self.free_bits:
            units = ops.maximum(batch_mean(divergence), self.free_bits)
            add_batch_penalty(self, self._weight(training) * ops.sum(units))
        elif self.samples == 1:
            add_penalty(self, ops.sum(divergence, -1), self._weight(training))
        self.log_ratio = None
        training = training and self.trainable
        if not training and not self.drawing:
            return ops.cast(mean, self.compute_dtype)
        batch, units = ops.shape(mean)[0], mean.shape[-1]
        if self.samples > 1:
            mean, log_variance = (
                ops.repeat(part, self.samples, 0) for part in (mean, log_variance)
            )
        if training:
            shape = ops.shape(mean)
            noise = keras.random.normal(shape, dtype=mean.dtype, seed=self.seed_generator)
        else:
            noise = self.evaluation.normal(batch, self.samples * units)
            noise = ops.cast(ops.reshape(noise, (-1, units)), mean.dtype)
        code = mean + ops.exp(0.5 * log_variance) * noise
        # log q(z | x) - log p(z), where the constants cancel
        self.log_ratio = 0.5 * ops.sum(code * code - noise * noise - log_variance, -1)
        return ops.cast(code, self.compute_dtype)

    @staticmethod
    def distribution(parameters):
        """Mean and log-variance; the latter is held where its exponential is finite."""
        mean, log_variance = ops.split(parameters, 2, -1)
        return mean, ops.clip(log_variance, -LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)

    def _weight(self, training):
        if not self.warmup_steps or not training:
            return self.beta
        self.step.assign_add(1.0)
        return self.beta * ops.minimum(self.step / self.warmup_steps, 1.0)

    def _report(self, mean, divergence):
        if self.kl is not None:
            self.kl.update_state(ops.sum(divergence, -1))
            self.active_units.update_state(mean)

    def get_config(self):
        config = {"beta": self.beta, "free_bits": self.free_bits, "seed": self.seed}
        config |= {"warmup_steps": self.warmup_steps, "samples": self.samples}
        return {**super().get_config(), **config}

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] // 2)


@keras.saving.register_keras_serializable("aezoo")
class MaximumMeanDiscrepancy(keras.layers.Layer):
    """Passes codes on and adds their discrepancy from the standard normal prior to the loss.

    The unbiased estimate over a batch, that of all replicas together, with the inverse
    multiquadratic kernel C / (C + |a - b|^2), C = 2 * latent_dim, against the same number of draws
    of the prior.

    Args:
        weight: Of the discrepancy.
        seed: Integer that fixes the draws, or None.

    Example:

    >>> layer = MaximumMeanDiscrepancy(10.0, seed=0)
    >>> codes = layer(np.ones((64, 4), "float32"), training=True)
    >>> float(layer.losses[0]) > 1
    True

    Reference:
        Tolstikhin, Bousquet, Gelly, Schoelkopf, 2018, "Wasserstein Auto-Encoders",
        https://arxiv.org/abs/1711.01558
    """

    def __init__(self, weight, *, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.weight, self.seed = weight, check_seed("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.evaluation = EvaluationDraws()
        self.mmd = None
        if keras.backend.backend() != "jax":
            self.mmd = keras.metrics.Mean(name="mmd")

    def call(self, code, training=None):
        if not reporting():
            return code
        precise = ops.cast(code, self.variable_dtype)  # sums of squares are too large for less
        shape = ops.shape(code)
        if training:
            prior = keras.random.normal(shape, dtype=precise.dtype, seed=self.seed_generator)
        else:
            prior = ops.cast(self.evaluation.normal(shape[0], code.shape[-1]), precise.dtype)
        weights = batch_weights()
        if weights is not None:
            weights = gather_over_replicas(ops.cast(weights, precise.dtype))
        both = gather_over_replicas(precise), gather_over_replicas(prior)
        discrepancy = self.discrepancy(*both, weights)
        add_batch_penalty(self, self.weight * discrepancy)
        if self.mmd is not None:
            self.mmd.update_state(discrepancy)
        return code

    @staticmethod
    def discrepancy(a, b, weights=None):
        """The squared maximum mean discrepancy of two samples (n, latent_dim).

        Args:
            a: The codes.
            b: Draws of the prior.
            weights: How much each code counts (n,), or None.
        """
        width = 2.0 * a.shape[-1]

        def kernel(a, b):
            distances = ops.sum(a * a, -1)[:, None] + ops.sum(b * b, -1) - 2 * a @ ops.transpose(b)
            return width / (width + ops.maximum(distances, 0))

        count = ops.cast(ops.shape(a)[0], a.dtype)
        pairs = ops.maximum(count * (count - 1), 1)  # without those of a point with itself
        if weights is None:
            same = ops.sum(kernel(a, a)) + ops.sum(kernel(b, b)) - 2 * count
            return same / pairs - 2 * ops.mean(kernel(a, b))
        total, squares = ops.sum(weights), ops.sum(weights * weights)
        of_a = ops.sum(weights[:, None] * weights * kernel(a, a)) - squares
        of_a = of_a / ops.maximum(total * total - squares, 1e-12)
        of_b = (ops.sum(kernel(b, b)) - count) / pairs
        across = ops.sum(weights[:, None] * kernel(a, b)) / ops.maximum(total * count, 1e-12)
        return of_a + of_b - 2 * across

    def get_config(self):
        return {**super().get_config(), "weight": self.weight, "seed": self.seed}

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("aezoo")
class LogVariance(keras.layers.Layer):
    """Passes reconstructions on; its one weight is the "learnt" variance of the likelihood.

    Args:
        scale: What the weight is multiplied by. An optimizer such as Adam moves every weight by
            about its learning rate in a step, and the logarithm of the variance has far to go.
    """

    def __init__(self, scale: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def build(self, input_shape):
        self.weight = self.add_weight(name="log_variance", initializer="zeros")

    @property
    def log_variance(self):
        """The logarithm of the variance, a tensor."""
        return self.scale * ops.convert_to_tensor(self.weight)

    def begin_at(self, variance: float) -> None:
        """Sets the variance."""
        self.weight.assign(np.log(variance) / self.scale)

    def call(self, reconstruction):
        return reconstruction

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}
