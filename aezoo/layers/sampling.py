"""The code of a variational autoencoder: drawn in training, and kept near the prior."""

import keras
import numpy as np
from keras import ops

from aezoo.backends.replica_step import gather_over_replicas
from aezoo.inputs.arguments import check_seed
from aezoo.layers._draws import EvaluationDraws
from aezoo.layers.reporting import (
    add_batch_penalty,
    add_penalty,
    batch_mean,
    batch_weights,
    draws,
    hand_over,
    report,
    reporting,
)
from aezoo.metrics import ActiveUnits

# Its exponential, 5e8, is far from the largest float32, and e^-20 is far from the smallest.
LARGEST_LOG_VARIANCE = 20.0


@keras.saving.register_keras_serializable("aezoo")
class Sampling(keras.layers.Layer):
    """Codes from the mean and log-variance of a gaussian posterior, with the KL divergence.

    In training and in an evaluation codes are drawn; otherwise they are the mean. The divergence
    from the standard normal prior is added to the loss in nats per sample. A derived class can have
    another divergence, with its own `add_divergence`.

    Args:
        beta: Weight of the divergence; 1 is the evidence lower bound.
        free_bits: Nats per unit of the code below which the divergence, averaged over the
            batch, is not lowered further.
        warmup_steps: Training steps over which the weight rises from 0 to `beta`; an
            evaluation has the full weight.
        samples: Number of codes drawn per sample. With more than 1, the divergence is left to the
            model, to which the log-ratio of posterior and prior is handed over.
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

    def __init__(self, beta=1.0, free_bits=0.0, warmup_steps=0, samples=1, *, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.beta, self.free_bits, self.warmup_steps = beta, free_bits, warmup_steps
        self.samples, self.seed = samples, check_seed("seed", seed)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.evaluation = EvaluationDraws()
        self.kl = keras.metrics.Mean(name="kl")
        self.reconstruction = keras.metrics.Mean(name="reconstruction")  # of the model's objective

    def build(self, input_shape):
        self.active_units = ActiveUnits(input_shape[-1] // 2)
        if self.warmup_steps:
            self.step = self.add_weight(name="step", initializer="zeros", trainable=False)

    def call(self, parameters, training=None):
        precise = ops.cast(parameters, self.variable_dtype)  # exponentials overflow half precision
        mean, log_variance = self.distribution(precise)
        if not reporting():
            return ops.cast(mean, self.compute_dtype)
        report(self.active_units, mean)
        code = self._drawn(mean, log_variance, training and self.trainable)
        self.add_divergence(mean, log_variance, code, training)
        return ops.cast(code, self.compute_dtype)

    def add_divergence(self, mean, log_variance, code, training):
        """Adds the divergence of the posterior from the prior to the loss, and reports `kl`.

        Args:
            mean: (batch, latent_dim).
            log_variance: (batch, latent_dim).
            code: The codes that were drawn (batch * samples, latent_dim), or the mean.
            training: Whether this is a training step.
        """
        # Equation 10 of Kingma and Welling: the divergence of two gaussians in closed form.
        divergence = 0.5 * (mean * mean + ops.exp(log_variance) - 1 - log_variance)
        report(self.kl, ops.sum(divergence, -1))
        if self.samples > 1:
            return  # the importance-weighted bound has it in its ratio of densities
        if self.free_bits:
            # The mean over the batch comes first: each unit has its nats free on average.
            units = ops.maximum(batch_mean(divergence), self.free_bits)
            add_batch_penalty(self, self._weight(training) * ops.sum(units))
        else:
            add_penalty(self, ops.sum(divergence, -1), self._weight(training))

    def _drawn(self, mean, log_variance, training):
        """Codes drawn from the posterior in training and where layers draw; else the mean."""
        if not training and not draws():
            return mean
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
        # The reparametrisation: the gradient of a drawn code goes to the mean and the variance.
        code = mean + ops.exp(0.5 * log_variance) * noise
        # log q(z | x) - log p(z), where the constants cancel
        hand_over(log_ratio=0.5 * ops.sum(code * code - noise * noise - log_variance, -1))
        return code

    @staticmethod
    def distribution(parameters):
        """Mean and log-variance; the latter is limited so that its exponential is finite."""
        mean, log_variance = ops.split(parameters, 2, -1)
        return mean, ops.clip(log_variance, -LARGEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)

    def _weight(self, training):
        if not self.warmup_steps or not training:
            return self.beta
        self.step.assign_add(1.0)
        return self.beta * ops.minimum(self.step / self.warmup_steps, 1.0)

    def get_config(self):
        config = {"beta": self.beta, "free_bits": self.free_bits, "seed": self.seed}
        config |= {"warmup_steps": self.warmup_steps, "samples": self.samples}
        return {**super().get_config(), **config}

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] // 2)


@keras.saving.register_keras_serializable("aezoo")
class MaximumMeanDiscrepancy(keras.layers.Layer):
    """Returns codes unchanged; adds their discrepancy from the standard normal prior to the loss.

    This is the unbiased estimate over the batch of all replicas, against the same number of draws
    from the prior. The kernel is the inverse multiquadratic C / (C + |a - b|^2), with
    C = 2 * latent_dim.

    Args:
        weight: Weight of the discrepancy.
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
        self.mmd = keras.metrics.Mean(name="mmd")

    def call(self, code, training=None):
        if not reporting():
            return code
        precise = ops.cast(code, self.variable_dtype)  # sums of squares overflow half precision
        shape = ops.shape(code)
        if training:
            prior = keras.random.normal(shape, dtype=precise.dtype, seed=self.seed_generator)
        else:
            prior = ops.cast(self.evaluation.normal(shape[0], code.shape[-1]), precise.dtype)
        weights = batch_weights()
        if weights is not None:
            weights = gather_over_replicas(ops.cast(weights, precise.dtype))
        # Pairs of codes from different replicas count too, so that more devices change nothing.
        both = gather_over_replicas(precise), gather_over_replicas(prior)
        discrepancy = self.discrepancy(*both, weights)
        add_batch_penalty(self, self.weight * discrepancy)
        report(self.mmd, discrepancy)
        return code

    @staticmethod
    def discrepancy(a, b, weights=None):
        """The squared maximum mean discrepancy of two samples (n, latent_dim).

        Args:
            a: The codes.
            b: Draws of the prior.
            weights: The weight of each code (n,), or None.
        """
        width = 2.0 * a.shape[-1]

        def kernel(a, b):
            # |a - b|^2 by products of matrices; rounding can leave it just below 0.
            distances = ops.sum(a * a, -1)[:, None] + ops.sum(b * b, -1) - 2 * a @ ops.transpose(b)
            return width / (width + ops.maximum(distances, 0))

        count = ops.cast(ops.shape(a)[0], a.dtype)
        pairs = ops.maximum(count * (count - 1), 1)  # without the pairs of a point with itself
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
    """Returns reconstructions unchanged; its one weight is the "learnt" variance of the likelihood.

    The weight is here so that it belongs to the decoder and its files. The layer hands it over to
    the objective of the model.

    Args:
        scale: Factor of the weight. An optimizer such as Adam moves every weight by about its
            learning rate in a step, and the logarithm of the variance may have to change a lot.
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
        hand_over(data_log_variance=self.log_variance)
        return reconstruction

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}
