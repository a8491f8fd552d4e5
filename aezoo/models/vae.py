"""Variational autoencoders: codes are distributions near a prior, and samples can be drawn."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Unpack

import keras
from annotated_types import Ge
from keras import layers

from aezoo.inputs.annotations import (
    Activation,
    AnyShape,
    Architecture,
    NonNegative,
    Number,
    Seed,
    Size,
    Sizes,
    SizesOrEmpty,
)
from aezoo.layers.sampling import LogVariance, MaximumMeanDiscrepancy, Sampling
from aezoo.layers.seeds import Seeds, output_dtype
from aezoo.losses import BernoulliLikelihood, GaussianLikelihood, SummedLoss
from aezoo.model_classes.compiling import check_loss
from aezoo.model_classes.generative import VariationalAutoencoder
from aezoo.model_classes.pixel_model import PixelModel
from aezoo.models._build import autoencoder
from aezoo.models._networks import Networks
from aezoo.models._registry import register
from aezoo.models._shared import Loss, Shared

UNIT_RANGE = ("sigmoid", "hard_sigmoid")
LEARNT_SCALE = 10.0  # of the logarithm of a learnt variance, which may change a lot


@register
def vae(
    input_shape: AnyShape = (),
    latent_dim: Size = 32,
    *,
    architecture: Architecture = "dense",
    hidden_units: SizesOrEmpty = (512, 256),
    filters: Sizes = (32, 64),
    activation: Activation = "silu",
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
    variance: Literal["optimal", "learnt"] | Annotated[Number, Ge(1e-12)] = "optimal",
    beta: NonNegative = 1.0,
    free_bits: NonNegative = 0.0,
    warmup_steps: NonNegative = 0,
    importance_samples: Size = 1,
    mmd_weight: NonNegative = 0.0,
    num_classes: Size | None = None,
    output_activation: Activation = "sigmoid",
    loss: Loss = None,
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> VariationalAutoencoder:
    """A variational autoencoder with a gaussian posterior and a standard normal prior.

    Minimises the negative log-likelihood of the input given a drawn code, plus `beta` times the
    Kullback-Leibler divergence of the posterior from the prior, in nats per sample. At `beta=1`
    this is the negative evidence lower bound, at any input size. History has `reconstruction`,
    `kl` and `active_units`, the number of units of the code that differ between samples.

    Variants: `beta` other than 1 gives the beta-VAE, `importance_samples=50` the importance
    weighted autoencoder, and `beta=1 - a, mmd_weight=a + l - 1` the InfoVAE of alpha a and
    lambda l. `num_classes` gives the conditional VAE, which is trained on (inputs, labels) and
    takes `labels=` in `encode`, `decode` and `generate`.

    Args:
        input_shape: Shape of one sample, any rank for "dense".
        latent_dim: Size of the code.
        architecture: "dense", or "conv" for images and series.
        hidden_units: For "dense": units of the encoder's hidden layers; the decoder mirrors
            them.
        filters: For "conv": channels of the stages; each stage halves the size.
        activation: Keras activation of the hidden layers.
        likelihood: "bernoulli" for data in [0, 1], or "gaussian" for any.
        variance: Variance of the "gaussian" likelihood: a number, "learnt" (one weight) or
            "optimal" (the mean squared error of the batch).
        beta: Weight of the divergence.
        free_bits: Nats per unit of the code below which the divergence is not lowered further.
        warmup_steps: Steps over which the weight of the divergence rises from 0 to `beta`.
        importance_samples: Number of codes drawn per sample; more than 1 makes the bound tighter.
        mmd_weight: Weight of the maximum mean discrepancy of the codes from the prior.
        num_classes: Number of classes of a conditional model, or None.
        output_activation: Keras activation of the reconstruction: "sigmoid" for data in
            [0, 1], None for any other with a gaussian likelihood.
        loss: None means the likelihood. A Keras loss of (clean input, reconstruction) replaces it,
            summed over the elements of a sample.
        seed: Integer that fixes initial weights and draws, or None.

    Returns:
        A compiled `VariationalAutoencoder`, codes (batch, latent_dim).

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.vae((8, 8, 1), latent_dim=4, hidden_units=(64,), seed=0)
    >>> history = model.fit(aezoo.data.load("digits"), epochs=2, verbose=0)
    >>> model.generate(5, seed=0).shape
    (5, 8, 8, 1)

    Reference:
        Kingma, Welling, 2014, "Auto-Encoding Variational Bayes",
        https://arxiv.org/abs/1312.6114; Higgins et al., 2017, "beta-VAE"; Burda et al.,
        2016, https://arxiv.org/abs/1509.00519 (IWAE); Zhao, Song, Ermon, 2019,
        https://arxiv.org/abs/1706.02262 (InfoVAE)
    """
    if importance_samples > 1 and (beta != 1 or free_bits or warmup_steps):
        raise ValueError(
            "`importance_samples` must be 1 where beta, free_bits or warmup_steps are used. "
            f"Received: {importance_samples}"
        )
    loss = _loss(likelihood, variance, output_activation, loss)
    nets = Networks(
        architecture, input_shape, hidden_units, filters, activation, output_activation, Seeds(seed)
    )
    # The mean and the log-variance of each unit of the code.
    net = nets.encoder(2 * latent_dim)
    sampling = Sampling(
        beta, free_bits, warmup_steps, importance_samples, seed=nets.seeds(), name="sampling"
    )
    return variational(nets, net, sampling, loss, mmd_weight, num_classes, **shared)


def variational(
    nets: Networks,
    net: keras.Model,
    sampling: Sampling,
    loss: keras.losses.Loss,
    mmd_weight: float = 0.0,
    num_classes: int | None = None,
    **shared,
) -> VariationalAutoencoder:
    """A compiled model whose encoder is `net` followed by `sampling`.

    Args:
        nets: Makes the decoder.
        net: Network from inputs to (batch, 2 * latent_dim).
        sampling: A layer named "sampling"; a class derived from `Sampling` that has another
            divergence makes another family.
        loss: The negative log-likelihood of the data.
        mmd_weight: As in `vae`, and so are the other arguments.
    """
    input_shape, latent_dim, seeds = nets.input_shape, net.output_shape[-1] // 2, nets.seeds
    inputs, labels = keras.Input(input_shape, name="input"), None
    if num_classes is None:
        inputs, code = net.input, sampling(net.output)
    else:
        labels = keras.Input((), dtype="int32", name="labels")
        size = math.prod(input_shape)
        # The encoder sees the class as an image that is added to its input, which works for dense
        # layers and for convolutions. At first it is faint compared with pixels in [0, 1].
        offset = _embedding(num_classes, size, 0.05, seeds, "label_offset")(labels)
        offset = layers.Reshape(input_shape, name="label_shape")(offset)
        code = sampling(net(layers.Add(name="labelled")([inputs, offset])))
    if mmd_weight:
        code = MaximumMeanDiscrepancy(mmd_weight, seed=seeds(), name="mmd")(code)
    encoder = PixelModel(inputs if labels is None else (inputs, labels), code, name="encoder")
    net = nets.decoder(latent_dim + (num_classes or 0))
    inputs, x = net.input, net.output
    if num_classes is not None:
        inputs = (keras.Input((latent_dim,), name="code"), labels)
        label_code = _embedding(num_classes, num_classes, 1.0, seeds, "label_code")(labels)
        # A model inside the decoder, because one graph cannot have two inputs named "code".
        net = keras.Model(net.input, net.output, name="network")
        x = net(layers.Concatenate(name="labelled")([inputs[0], label_code]))
    if getattr(loss, "variance", None) == "learnt":
        x = LogVariance(LEARNT_SCALE, dtype=output_dtype(), name="log_variance")(x)
    decoder = keras.Model(inputs, x, name="decoder")
    return autoencoder(
        encoder,
        decoder,
        model_class=VariationalAutoencoder,
        loss=loss,
        **shared,
    )


def _loss(likelihood, variance, output_activation, loss):
    if loss is not None:
        check_loss(loss)
        return SummedLoss(loss)
    if likelihood == "gaussian":
        return GaussianLikelihood(variance)
    if not callable(output_activation) and output_activation not in UNIT_RANGE:
        raise ValueError(
            "`output_activation` must be 'sigmoid' or 'hard_sigmoid' for the likelihood "
            f"'bernoulli'; 'gaussian' is for other data. Received: {output_activation!r}"
        )
    return BernoulliLikelihood()


def _embedding(num_classes, units, deviation, seeds, name):
    start = keras.initializers.RandomNormal(stddev=deviation, seed=seeds())
    return layers.Embedding(num_classes, units, embeddings_initializer=start, name=name)
