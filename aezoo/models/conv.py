"""Convolutional autoencoders, for images (2-D) and series (1-D)."""

from __future__ import annotations

import math
from typing import Unpack

import keras
from keras import layers

from aezoo.inputs.annotations import Activation, Flag, GridShape, Seed, Size, Sizes
from aezoo.inputs.arguments import check_input_shape
from aezoo.layers.seeds import Seeds, output_dtype
from aezoo.model_classes.autoencoder import Autoencoder
from aezoo.models._build import autoencoder
from aezoo.models._registry import register
from aezoo.models._shared import Shared


@register
def conv_ae(
    input_shape: GridShape = (),
    latent_dim: Size = 32,
    *,
    filters: Sizes = (16, 64),
    activation: Activation = "silu",
    latent_activation: Activation = None,
    output_activation: Activation = "sigmoid",
    spatial_code: Flag = False,
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> Autoencoder:
    """A convolutional autoencoder of strided convolutions and their mirror.

    Minimises the mean squared error of the reconstruction. Each number in `filters` is one stage: a
    convolution of stride 2, batch normalisation and activation. A stage halves height and width,
    rounded up. The decoder mirrors the stages with transposed convolutions whose kernel is twice
    their stride, so that they overlap evenly, and crops the rows and columns that odd sizes add.

    Args:
        input_shape: (height, width, channels) of an image or (steps, channels) of a
            series; any sizes, odd ones too.
        latent_dim: Size of the code; with `spatial_code`, its channels.
        filters: Channels of the stages, from the input inwards.
        activation: Keras activation of the stages.
        latent_activation: Keras activation of the code; None is linear.
        output_activation: Keras activation of the reconstruction: "sigmoid" for pixels
            and other data in [0, 1], None for standardised series.
        spatial_code: False gives a code (latent_dim,) from a dense layer; True gives a code
            (height / 2^stages, width / 2^stages, latent_dim) from a convolution.
        seed: Integer that fixes the initial weights, or None.

    Returns:
        A compiled `Autoencoder`.

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> aezoo.conv_ae((27, 31, 3), latent_dim=16).encoder.output_shape
    (None, 16)

    Reference:
        Masci, Meier, Ciresan, Schmidhuber, 2011, "Stacked Convolutional Auto-Encoders
        for Hierarchical Feature Extraction", https://doi.org/10.1007/978-3-642-21735-7_7
    """
    seeds = Seeds(seed)
    encoder = conv_encoder(
        input_shape, latent_dim, filters, activation, latent_activation, spatial_code, seeds
    )
    decoder = conv_decoder(
        input_shape, latent_dim, filters, activation, output_activation, spatial_code, seeds
    )
    return autoencoder(
        encoder,
        decoder,
        usual_learning_rate=0.004,
        **shared,
    )


def conv_encoder(
    input_shape, latent_dim, filters, activation, latent_activation, spatial_code, seeds
):
    """The net from images or series to codes."""
    input_shape = check_input_shape(input_shape, ranks=(2, 3))
    convolution = {2: layers.Conv1D, 3: layers.Conv2D}[len(input_shape)]
    x = inputs = keras.Input(input_shape, name="input")
    for i, channels in enumerate(filters):
        # A large kernel costs little where the input has few channels.
        kernel_size = 5 if i == 0 else 3
        # No bias: the batch normalisation that follows would cancel it.
        x = convolution(
            channels, kernel_size, 2, "same", use_bias=False, name=f"down_{i}", **_start(seeds)
        )(x)
        x = _normalise(x, activation, f"down_{i}")
    if spatial_code:
        x = convolution(latent_dim, 1, name="code_projection", **_start(seeds))(x)
    else:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dense(latent_dim, name="code_projection", **_start(seeds))(x)
    x = layers.Activation(latent_activation, name="code")(x)
    return keras.Model(inputs, x, name="encoder")


def conv_decoder(
    input_shape, latent_dim, filters, activation, output_activation, spatial_code, seeds
):
    """The net from codes to images or series."""
    *sizes, output_channels = input_shape
    # Each stage of the encoder rounds up; rounding up once at the end gives the same.
    small = [math.ceil(size / 2 ** len(filters)) for size in sizes]
    convolution = {1: layers.Conv1D, 2: layers.Conv2D}[len(sizes)]
    transposed = {1: layers.Conv1DTranspose, 2: layers.Conv2DTranspose}[len(sizes)]
    if spatial_code:
        x = inputs = keras.Input((*small, latent_dim), name="code")
        x = convolution(filters[-1], 3, 1, "same", use_bias=False, name="expand", **_start(seeds))(
            x
        )
    else:
        x = inputs = keras.Input((latent_dim,), name="code")
        units = math.prod(small) * filters[-1]
        x = layers.Dense(units, use_bias=False, name="expand", **_start(seeds))(x)
        x = layers.Reshape((*small, filters[-1]), name="unflatten")(x)
    x = _normalise(x, activation, "expand")
    for i, channels in enumerate(filters[-2::-1]):
        # A kernel of 4 at a stride of 2 puts the same number of values on every pixel. The usual 3
        # does not, and leaves a checkerboard (Odena, Dumoulin, Olah, 2016).
        x = transposed(channels, 4, 2, "same", use_bias=False, name=f"up_{i}", **_start(seeds))(x)
        x = _normalise(x, activation, f"up_{i}")
    x = transposed(output_channels, 4, 2, "same", name="output", **_start(seeds))(x)
    x = crop(x, sizes, "crop")
    x = layers.Activation(output_activation, dtype=output_dtype(), name="reconstruction")(x)
    return keras.Model(inputs, x, name="decoder")


def _normalise(x, activation, name):
    # Keras's momentum, .99, averages over hundreds of steps, which is more than an epoch of a small
    # data set: the statistics would be those of weights that changed long ago.
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_normalisation")(x)
    return layers.Activation(activation, name=f"{name}_activation")(x)


def crop(x, sizes, name):
    """The first `sizes` elements of each spatial axis."""
    # The way down rounds odd sizes up, so the way up returns rows or columns too many.
    surplus = [have - want for have, want in zip(x.shape[1:-1], sizes, strict=True)]
    if not any(surplus):
        return x
    if len(sizes) == 1:
        return layers.Cropping1D((0, surplus[0]), name=name)(x)
    return layers.Cropping2D([(0, extra) for extra in surplus], name=name)(x)


def _start(seeds):
    return {"kernel_initializer": keras.initializers.GlorotUniform(seed=seeds())}
