"""Autoencoders whose codes follow a prior, so that new samples can be drawn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from aezoo.backends.engine import predict_on_batch
from aezoo.inputs.annotations import Flag, Seed, Size, checked
from aezoo.inputs.arrays import batches, inputs_of, is_array, joined, recut, samples_of, to_numpy
from aezoo.inputs.pixels import scale_pixels
from aezoo.layers.sampling import Sampling
from aezoo.losses import BernoulliLikelihood, GaussianLikelihood, NatsLoss
from aezoo.model_classes.autoencoder import Autoencoder
from aezoo.model_classes.pixel_model import PixelModel
from aezoo.model_classes.reconstruction_model import outputs_of

DRAWS_AT_ONCE = 4096
VARIANCE_SAMPLES = 4096


class GenerationMixin:
    """What an autoencoder with codes near a standard normal prior does besides."""

    @checked
    def generate(
        self, n: Size, seed: Seed = None, batch_size: Size = 256, *, labels=None
    ) -> np.ndarray:
        """New samples: codes drawn from the prior, decoded.

        Args:
            n: How many.
            seed: Integer that fixes the draws, or None.
            batch_size: How many are decoded at once.
            labels: Of a conditional model, their classes, or one class of all.

        Returns:
            Array (n, *input_shape).

        Raises:
            ValueError: if `n` is not a positive integer.
        """
        return self.decode(self._prior(n, seed), batch_size, labels=labels)

    @checked
    def interpolate(
        self, a, b, steps: Size = 8, batch_size: Size = 256, *, labels=None
    ) -> np.ndarray:
        """Reconstructions along the straight lines between the codes of `a` and of `b`.

        Args:
            a: Array (samples, *input_shape), where the lines begin.
            b: As many samples, where they end.
            steps: Points on each line, both ends among them.
            batch_size: How many are encoded or decoded at once.
            labels: Of a conditional model, the classes of the lines, or one class of all.

        Returns:
            Array (samples, steps, *input_shape).

        Raises:
            ValueError: if `a` and `b` differ in their number of samples, or `steps` is below 1.
        """
        ends = (self.encode(x, batch_size, labels=labels) for x in (a, b))
        codes = self._line(*ends, steps)
        if labels is not None:
            labels = np.repeat(np.broadcast_to(labels, len(codes)), steps)
        decoded = self.decode(codes.reshape(-1, *codes.shape[2:]), batch_size, labels=labels)
        return decoded.reshape(*codes.shape[:2], *decoded.shape[1:])

    def _prior(self, n, seed):
        shape = (n, self.encoder.output_shape[-1])
        return np.random.default_rng(seed).standard_normal(shape, "float32")

    @staticmethod
    def _line(first, last, steps):
        if len(first) != len(last):
            raise ValueError(
                "`a` and `b` must hold the same number of samples. "
                f"Received: {len(first)} and {len(last)}"
            )
        shares = np.linspace(0, 1, steps, dtype="float32")[:, None]
        return first[:, None] * (1 - shares) + last[:, None] * shares


@keras.saving.register_keras_serializable("aezoo")
class GenerativeAutoencoder(GenerationMixin, Autoencoder):
    """An autoencoder with codes near a standard normal prior.

    Example:

    >>> model = aezoo.wae((8, 8, 1), latent_dim=4)
    >>> model.generate(3, seed=0).shape
    (3, 8, 8, 1)
    """


@keras.saving.register_keras_serializable("aezoo")
class VariationalAutoencoder(GenerationMixin, Autoencoder):
    """An autoencoder whose encoder gives a distribution over codes.

    `encode` returns its mean. `fit` draws codes; so does `evaluate`, with a fixed seed, so
    that `val_loss` is the bound that is trained. All is in nats per sample. One that was made
    with `num_classes` is conditional, and takes `labels` of arrays.

    Example:

    >>> model = aezoo.vae((8, 8, 1), latent_dim=4, seed=0)
    >>> x = aezoo.data.arrays("digits")
    >>> history = model.fit(x, verbose=0).history
    >>> sorted(history)
    ['active_units', 'kl', 'loss', 'mse', 'reconstruction']
    >>> mean, log_variance = model.encode(x, return_distribution=True)
    >>> mean.shape, log_variance.shape
    ((1437, 4), (1437, 4))
    >>> conditional = aezoo.vae((8, 8, 1), latent_dim=4, num_classes=10)
    >>> history = conditional.fit(aezoo.data.load("digits", labels=True), verbose=0)
    >>> conditional.generate(3, labels=7, seed=0).shape
    (3, 8, 8, 1)
    """

    @property
    def sampling(self) -> Sampling:
        """The layer that draws codes."""
        return self.encoder.get_layer("sampling")

    def objective(self, clean, outputs):
        """The negative log-likelihood of the data; `Sampling` adds the divergence of the code.

        With several codes per sample it is the importance-weighted bound, which holds both.
        """
        if not isinstance(self.loss, NatsLoss):
            return super().objective(clean, outputs)
        samples, dtype = self._codes_per_sample(outputs), self.loss.dtype
        clean = ops.cast(clean, dtype)
        nats = self.loss.nats(
            ops.repeat(clean, samples, 0) if samples > 1 else clean,
            ops.cast(outputs["reconstruction"], dtype),
            outputs.get("data_log_variance"),
        )
        self.sampling.reconstruction.update_state(nats)
        if samples == 1:
            return {"reconstruction": nats}
        # The bound of Burda et al.: the logarithm of the mean of p(x, z) / q(z | x).
        log_ratio = ops.cast(outputs["log_ratio"], dtype)
        logs = ops.reshape(-nats - log_ratio, (-1, samples))
        return {"importance_weighted_bound": math.log(samples) - ops.logsumexp(logs, -1)}

    def _codes_per_sample(self, outputs) -> int:
        return self.sampling.samples if "log_ratio" in outputs else 1

    @checked
    def encode(self, x, batch_size: Size = 256, return_distribution: Flag = False, *, labels=None):
        """The means of the codes of `x`.

        Args:
            x: Array (samples, *input_shape), or a dataset of batches of it.
            batch_size: How many samples of an array go through at once.
            return_distribution: Whether the log-variances are returned too.
            labels: Of a conditional model, the classes of an array of samples.

        Returns:
            Array (samples, latent_dim), or two of them: mean and log-variance.

        Raises:
            ValueError: if shape or dtype do not fit the model.
        """
        if not return_distribution:
            return super().encode(x, batch_size, labels=labels)
        return self._parts(self._predict(self._posterior(), x, batch_size, labels))

    @checked
    def log_likelihood(
        self, x, samples: Size = 100, seed: Seed = 0, batch_size: Size = 256, *, labels=None
    ) -> np.ndarray:
        """The logarithm of p(x), or p(x | label), in nats, by importance sampling from the encoder.

        It is a lower bound in expectation, and tight when `samples` are many. Where the
        variance of a gaussian likelihood is "optimal", it is that of `x` and its
        reconstruction.

        Args:
            x: Array (samples, *input_shape), or a dataset of batches of it.
            samples: Codes drawn for each sample.
            seed: Integer that fixes the draws, or None.
            batch_size: How many samples of an array are encoded at once.
            labels: Of a conditional model, the classes of an array of samples.

        Returns:
            Array (samples,).

        Raises:
            ValueError: if shape or dtype do not fit the model, if `samples` is below 1, or
                if the model was made with a loss that is no likelihood.

        Reference:
            Burda, Grosse, Salakhutdinov, 2016, "Importance Weighted Autoencoders",
            https://arxiv.org/abs/1509.00519
        """
        x = self._checked(self, x, labels, batch_size)
        likelihood = self._likelihood(x, batch_size)
        generator = np.random.default_rng(seed)
        posterior, found = self._posterior(), []
        for batch in batches(x, batch_size):
            inputs = inputs_of(batch)
            parameters = to_numpy(posterior.predict_on_batch(inputs))
            pieces = max(1, len(parameters) * samples // DRAWS_AT_ONCE)
            for rows in np.array_split(np.arange(len(parameters)), min(pieces, len(parameters))):
                piece = keras.tree.map_structure(
                    lambda part, rows=rows: to_numpy(part)[rows], inputs
                )
                found.append(
                    self._log_mean(likelihood, piece, parameters[rows], samples, generator)
                )
        return joined(found)

    def _log_mean(self, likelihood, inputs, parameters, samples, generator):
        """log p(x) of a few samples, from this number of codes for each."""
        mean, log_variance = (np.repeat(part, samples, 0) for part in self._parts(parameters))
        # NumPy draws, so that a seed gives the same estimate on every backend.
        noise = generator.standard_normal(mean.shape, "float32")
        codes = mean + np.exp(0.5 * log_variance) * noise
        log_ratio = 0.5 * np.sum(codes * codes - noise * noise - log_variance, -1)
        clean, *labels = inputs if isinstance(inputs, tuple) else (inputs,)
        labels = [np.repeat(part, samples, 0) for part in labels]
        decoded = predict_on_batch(self.decoder, (codes, *labels) if labels else codes)
        clean = np.repeat(to_numpy(scale_pixels(clean)), samples, 0)
        # As tensors: PyTorch multiplies none with an array.
        nats = to_numpy(likelihood.nats(*map(ops.convert_to_tensor, (clean, decoded))))
        logs = (-nats - log_ratio).reshape(-1, samples)
        # Densities of images are far below the smallest float: only their ratios to the largest
        # have an exponential.
        largest = logs.max(1, keepdims=True)
        return largest[:, 0] + np.log(np.exp(logs - largest).mean(1))

    def _likelihood(self, x, batch_size):
        if not isinstance(self.loss, (BernoulliLikelihood, GaussianLikelihood)):
            raise ValueError(
                "The model must be compiled with a likelihood, as loss=None does it. "
                f"Received: {self.loss!r}"
            )
        variance = getattr(self.loss, "variance", None)
        if variance == "learnt":
            learnt = to_numpy(self.decoder.get_layer("log_variance").log_variance)
            return GaussianLikelihood(float(np.exp(learnt)))
        if variance == "optimal":
            variance = float(self.reconstruction_error(x, batch_size).mean()) + 1e-7
            return GaussianLikelihood(variance)
        return self.loss

    def _posterior(self):
        """From inputs to the parameters of the distribution, made once."""
        # In `vars`, as Keras would track a model that is an attribute, and save it with this one.
        found = vars(self).get("posterior_network")
        if found is None:
            found = PixelModel(self.encoder.input, self.sampling.input)
            vars(self)["posterior_network"] = found
        return found

    @staticmethod
    def _parts(parameters):
        return tuple(to_numpy(part) for part in Sampling.distribution(parameters))

    def _begin(self, x):
        """A learnt variance begins at that of the data around their mean, before the first step."""
        if getattr(self.loss, "variance", None) != "learnt":
            return x
        if to_numpy(ops.convert_to_tensor(self.optimizer.iterations)) > 0:
            return x  # a training that goes on
        # the arrays behind a pipeline of `aezoo.data.load`
        known = x.aezoo_rows.columns[0] if hasattr(x, "aezoo_rows") else x
        if is_array(known):
            first = known[:: max(1, len(known) // VARIANCE_SAMPLES)]
        else:
            ahead = batches(x)
            if isinstance(x, Iterator):
                x, ahead = itertools.tee(x)
            first = next(recut(map(to_numpy, map(samples_of, ahead)), [VARIANCE_SAMPLES]))
        clean = to_numpy(scale_pixels(first))
        self.decoder.get_layer("log_variance").begin_at(float(clean.var(0).mean()) + 1e-6)
        return x

    def compile(self, *args, **options):
        """As in `ReconstructionModel`, without `loss_weights`: `beta` weighs the divergence."""
        if len(args) > 2 or options.get("loss_weights") is not None:
            raise ValueError(
                "`loss_weights` must be left out, as the objective weighs its own terms. "
                f"Received: {args[2] if len(args) > 2 else options['loss_weights']!r}"
            )
        super().compile(*args, **options)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        outputs = outputs_of(y_pred)
        samples = self._codes_per_sample(outputs)
        if samples > 1:  # the metrics are those of the first code of each sample
            several = outputs["reconstruction"]
            first = ops.reshape(several, (-1, samples, *several.shape[1:]))[:, 0]
            outputs = {**outputs, "reconstruction": first}
        return super().compute_metrics(x, y, outputs, sample_weight)


# Its name in files of release 0.1, where a conditional model had a class of its own.
keras.saving.get_custom_objects()["aezoo>ConditionalVariationalAutoencoder"] = (
    VariationalAutoencoder
)
