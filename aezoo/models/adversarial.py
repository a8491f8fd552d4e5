"""Adversarial autoencoders: a discriminator holds the codes to the prior."""

from __future__ import annotations

from typing import Unpack

import keras
from keras import layers, ops

from aezoo.inputs.annotations import (
    Activation,
    AnyShape,
    Architecture,
    NonNegative,
    Seed,
    Size,
    Sizes,
    SizesOrEmpty,
)
from aezoo.layers._draws import EvaluationDraws
from aezoo.layers.reporting import add_penalty, report, reporting
from aezoo.layers.seeds import Seeds
from aezoo.model_classes.generative import GenerativeAutoencoder
from aezoo.models._build import autoencoder
from aezoo.models._networks import Networks
from aezoo.models._registry import register
from aezoo.models._shared import Shared


@register
def adversarial_ae(
    input_shape: AnyShape = (),
    latent_dim: Size = 8,
    *,
    architecture: Architecture = "dense",
    hidden_units: SizesOrEmpty = (512, 256),
    filters: Sizes = (32, 64),
    activation: Activation = "silu",
    discriminator_units: SizesOrEmpty = (128, 128),
    adversarial_weight: NonNegative = 0.01,
    output_activation: Activation = "sigmoid",
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> GenerativeAutoencoder:
    """An autoencoder whose codes a discriminator pushes towards a standard normal prior.

    Minimises the mean squared error of the reconstruction plus `adversarial_weight` times the
    cross-entropy of taking codes for draws from the prior. At the same time a discriminator
    minimises the cross-entropy of telling codes from draws. The gradient is reversed between the
    two, so that one optimizer trains both in one step. History has `discriminator_accuracy`, which
    is 0.5 if this small discriminator cannot tell them apart; a classifier that is trained
    afterwards still can.

    Args:
        input_shape: Shape of one sample, any rank for "dense".
        latent_dim: Size of the code.
        architecture: "dense", or "conv" for images and series.
        hidden_units: For "dense": units of the encoder's hidden layers; the decoder mirrors
            them.
        filters: For "conv": channels of the stages; each stage halves the size.
        activation: Keras activation of the hidden layers.
        discriminator_units: Units of the discriminator's hidden layers.
        adversarial_weight: Weight of the encoder's loss against the discriminator.
        output_activation: Keras activation of the reconstruction: "sigmoid" for data in
            [0, 1], None for standardised columns.
        seed: Integer that fixes initial weights and draws, or None.

    Returns:
        A compiled `GenerativeAutoencoder`, codes (batch, latent_dim).

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.adversarial_ae((8, 8, 1), latent_dim=4, seed=0)
    >>> sorted(model.fit(aezoo.data.load("digits"), verbose=0).history)
    ['discriminator_accuracy', 'loss', 'mse']

    Reference:
        Makhzani, Shlens, Jaitly, Goodfellow, Frey, 2016, "Adversarial Autoencoders",
        https://arxiv.org/abs/1511.05644; Ganin et al., 2016, "Domain-Adversarial Training of
        Neural Networks" (gradient reversal), https://arxiv.org/abs/1505.07818
    """
    seeds = Seeds(seed)
    nets = Networks(
        architecture, input_shape, hidden_units, filters, activation, output_activation, seeds
    )
    net = nets.encoder(latent_dim)
    starts = [seeds() for _ in range(len(discriminator_units) + 1)]
    prior = AdversarialPrior(discriminator_units, adversarial_weight, starts, seeds(), name="prior")
    return autoencoder(
        keras.Model(net.input, prior(net.output), name="encoder"),
        nets.decoder(latent_dim),
        model_class=GenerativeAutoencoder,
        **shared,
    )


@keras.saving.register_keras_serializable("aezoo")
class AdversarialPrior(layers.Layer):
    """Returns codes unchanged, and trains a discriminator and the encoder against each other.

    One loss serves both: its gradient is reversed between the two, so that one backward pass is
    enough.
    """

    def __init__(self, units, weight, starts=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.weight = tuple(units), weight
        self.starts, self.seed = starts, seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        sizes = [*((size, "silu") for size in self.units), (1, None)]
        self.discriminator = [
            layers.Dense(
                size,
                activation,
                kernel_initializer=keras.initializers.GlorotUniform(start),
                dtype=self.variable_dtype,  # the exponential in `reverse` overflows half precision
                name=f"dense_{i}",
            )
            for i, ((size, activation), start) in enumerate(
                zip(sizes, starts or [None] * len(sizes), strict=True)
            )
        ]
        self.evaluation = EvaluationDraws()
        self.accuracy = keras.metrics.Mean(name="discriminator_accuracy")

    def build(self, input_shape):
        for layer in self.discriminator:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, code, training=None):
        if not reporting():
            return code
        shape, precise = ops.shape(code), ops.cast(code, self.variable_dtype)
        if training:
            draws = keras.random.normal(shape, dtype=precise.dtype, seed=self.seed_generator)
        else:
            draws = ops.cast(self.evaluation.normal(shape[0], code.shape[-1]), precise.dtype)
        of_draws, of_codes = ops.split(
            self.score(ops.concatenate([draws, self.reverse(precise)]))[:, 0], 2
        )
        add_penalty(self, ops.softplus(-of_draws) + ops.softplus(of_codes))
        right = ops.concatenate([of_draws > 0, of_codes < 0])
        report(self.accuracy, ops.cast(right, "float32"))
        return code

    def reverse(self, code):
        """Returns the code unchanged, and reverses its gradient in the backward pass.

        The gradient is scaled as well: from the gradient of softplus(score), which vanishes where
        the discriminator is sure, to `weight` times the gradient of softplus(-score), which does
        not.
        """
        # The derivatives are sigmoid(score) and -sigmoid(-score) = -sigmoid(score) exp(-score), so
        # the scale has the exponential. The score is clipped so that the exponential is finite.
        score = ops.clip(self.score(ops.stop_gradient(code)), -20, 20)
        scale = ops.stop_gradient(self.weight * ops.exp(-score))
        fixed = ops.stop_gradient(code)
        return fixed + scale * (fixed - code)  # exact, however large the scale

    def score(self, code):
        """The discriminator's logit that codes (batch, latent_dim) are draws from the prior."""
        for layer in self.discriminator:
            code = layer(code)
        return code

    def get_config(self):
        config = {"units": self.units, "weight": self.weight}
        return {**super().get_config(), **config, "starts": self.starts, "seed": self.seed}

    def compute_output_shape(self, input_shape):
        return input_shape
