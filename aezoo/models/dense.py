"""Autoencoders of fully connected layers, for vectors and for anything flattened."""

from __future__ import annotations

from typing import Unpack

import keras
from keras import layers

from aezoo.inputs.annotations import Activation, AnyShape, Seed, Size, SizesOrEmpty
from aezoo.layers.seeds import Seeds, output_dtype
from aezoo.model_classes.autoencoder import Autoencoder
from aezoo.models._build import autoencoder
from aezoo.models._registry import register
from aezoo.models._shared import Shared


@register
def dense_ae(
    input_shape: AnyShape = (),
    latent_dim: Size = 32,
    *,
    hidden_units: SizesOrEmpty = (512, 128),
    activation: Activation = "gelu",
    latent_activation: Activation = None,
    output_activation: Activation = "sigmoid",
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> Autoencoder:
    """A fully connected autoencoder with a mirrored decoder.

    Minimises the mean squared error of the reconstruction.

    Args:
        input_shape: Shape of one sample, any rank; it is flattened inside.
        latent_dim: Size of the code.
        hidden_units: Units of the encoder's hidden layers, from the input inwards; the
            decoder mirrors them. With `()` each of the two has one layer.
        activation: Keras activation of the hidden layers.
        latent_activation: Keras activation of the code; None is linear.
        output_activation: Keras activation of the reconstruction: "sigmoid" for pixels
            and other data in [0, 1], None for standardised columns.
        seed: Integer that fixes the initial weights, or None.

    Returns:
        A compiled `Autoencoder`, codes (batch, latent_dim).

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.dense_ae((784,), 128, hidden_units=(), latent_activation="sigmoid")
    >>> model.count_params()
    201616

    Reference:
        Hinton, Salakhutdinov, 2006, "Reducing the Dimensionality of Data with Neural
        Networks", https://doi.org/10.1126/science.1127647
    """
    seeds = Seeds(seed)
    encoder = dense_encoder(
        input_shape, latent_dim, hidden_units, activation, latent_activation, seeds
    )
    decoder = dense_decoder(
        input_shape, latent_dim, hidden_units, activation, output_activation, seeds
    )
    return autoencoder(encoder, decoder, **shared)


def dense_encoder(input_shape, latent_dim, hidden_units, activation, latent_activation, seeds):
    """The net from inputs to codes (batch, latent_dim)."""
    x = inputs = keras.Input(input_shape, name="input")
    if len(input_shape) > 1:
        x = layers.Flatten(name="flatten")(x)
    x = _hidden_layers(x, hidden_units, activation, seeds)
    code = _dense(latent_dim, latent_activation, seeds, "code")(x)
    return keras.Model(inputs, code, name="encoder")


def dense_decoder(input_shape, latent_dim, hidden_units, activation, output_activation, seeds):
    """The net from codes to reconstructions (batch, *input_shape)."""
    x = inputs = keras.Input((latent_dim,), name="code")
    x = _hidden_layers(x, hidden_units[::-1], activation, seeds)
    size = 1
    for length in input_shape:
        size *= length
    x = _dense(size, None, seeds, "output")(x)
    if len(input_shape) > 1:
        x = layers.Reshape(input_shape, name="unflatten")(x)
    # A separate layer, because under a mixed policy only the reconstruction is float32: in half
    # precision the loss would not see small errors.
    x = layers.Activation(output_activation, dtype=output_dtype(), name="reconstruction")(x)
    return keras.Model(inputs, x, name="decoder")


def _hidden_layers(x, hidden_units, activation, seeds):
    for i, units in enumerate(hidden_units):
        x = _dense(units, activation, seeds, f"hidden_{i}")(x)
    return x


def _dense(units, activation, seeds, name):
    initializer = keras.initializers.GlorotUniform(seed=seeds())
    return layers.Dense(units, activation, kernel_initializer=initializer, name=name)
