"""Denoising autoencoders: the encoder sees corrupted inputs, the target is the clean one."""

from __future__ import annotations

from typing import Unpack

from aezoo.inputs.annotations import (
    Activation,
    AnyShape,
    Architecture,
    Flag,
    NonNegative,
    Seed,
    Size,
    Sizes,
    SizesOrEmpty,
)
from aezoo.layers.corruption import Corruption, make_corruption
from aezoo.layers.seeds import Seeds
from aezoo.model_classes.autoencoder import Autoencoder
from aezoo.models._build import autoencoder
from aezoo.models._registry import register
from aezoo.models._shared import Shared
from aezoo.models.conv import conv_decoder, conv_encoder
from aezoo.models.dense import dense_decoder, dense_encoder


@register
def denoising_ae(
    input_shape: AnyShape = (),
    latent_dim: Size = 64,
    *,
    architecture: Architecture | None = None,
    corruption: Corruption = "gaussian",
    level: NonNegative = 0.5,
    clip: Flag = True,
    filters: Sizes = (16, 64),
    hidden_units: SizesOrEmpty = (512, 128),
    activation: Activation = "silu",
    latent_activation: Activation = None,
    output_activation: Activation = "sigmoid",
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> Autoencoder:
    """An autoencoder that learns to take noise away.

    Minimises the mean squared error between the clean input and the reconstruction of
    its corrupted copy; the corruption is drawn again in every step. `model.corrupt(x)` shows the
    corruption and `model.reconstruct(noisy)` denoises. Validation data are corrupted
    once, with a fixed seed, so that `val_loss` is the error of denoising.

    Args:
        input_shape: Shape of one sample, as in `conv_ae` or `dense_ae`.
        latent_dim: Size of the code.
        architecture: "conv", "dense", or None: "conv" for images and series, "dense"
            for vectors.
        corruption: "gaussian", "masking", "salt_and_pepper", "affine", a Keras layer, or
            None for training on (noisy, clean) pairs of your own. "affine" moves, turns and
            stretches images: codes that are learnt with it serve a classifier best.
        level: Standard deviation of gaussian noise in units of the data, the share of
            values that "masking" and "salt_and_pepper" replace, or the strength of
            "affine", see `AffineCorruption`.
        clip: Whether gaussian noise is clipped to [0, 1].
        filters: Channels of the stages of architecture "conv", see `conv_ae`.
        hidden_units: Hidden layers of architecture "dense", see `dense_ae`.
        activation: Keras activation of the hidden layers.
        latent_activation: Keras activation of the code; None is linear.
        output_activation: Keras activation of the reconstruction: "sigmoid" for data in
            [0, 1], None for any other.
        seed: Integer that fixes initial weights and noise, or None.

    Returns:
        A compiled `Autoencoder`, codes (batch, latent_dim).

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.denoising_ae((8, 8, 1), corruption="masking", level=0.25, seed=0)
    >>> x = aezoo.data.arrays("digits")
    >>> model.corrupt(x, seed=0).shape
    (1437, 8, 8, 1)

    Reference:
        Vincent, Larochelle, Bengio, Manzagol, 2008, "Extracting and Composing Robust
        Features with Denoising Autoencoders", https://doi.org/10.1145/1390156.1390294
    """
    if architecture is None:
        architecture = "conv" if len(input_shape) in (2, 3) else "dense"
    seeds = Seeds(seed)
    # A seed is taken even if the corruption is None, so that the initial weights of one `seed` are
    # the same with any noise.
    corruption = make_corruption(corruption, level, clip, seeds())
    if architecture == "conv":
        net = (input_shape, latent_dim, filters, activation)
        encoder = conv_encoder(*net, latent_activation, False, seeds)
        decoder = conv_decoder(*net, output_activation, False, seeds)
    else:
        net = (input_shape, latent_dim, hidden_units, activation)
        encoder = dense_encoder(*net, latent_activation, seeds)
        decoder = dense_decoder(*net, output_activation, seeds)
    return autoencoder(
        encoder,
        decoder,
        corruption=corruption,
        usual_learning_rate=0.004 if architecture == "conv" else 0.001,
        **shared,
    )
