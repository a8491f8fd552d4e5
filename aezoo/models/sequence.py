"""Autoencoders of series: recurrent, convolutional or with attention; lengths may differ."""

from __future__ import annotations

import math
from typing import Literal, Unpack

import keras
import numpy as np
from keras import layers, ops

from aezoo.inputs.annotations import Activation, Number, Seed, SeriesShape, Size
from aezoo.layers.patches import AddPositions
from aezoo.layers.seeds import Seeds, output_dtype
from aezoo.layers.transformer import dense, transformer_block
from aezoo.model_classes.autoencoder import Autoencoder
from aezoo.model_classes.reconstruction_model import weighed
from aezoo.models._build import autoencoder
from aezoo.models._registry import register
from aezoo.models._shared import Shared
from aezoo.models.conv import conv_decoder, conv_encoder

HEADS, DEPTH = 4, 2


@register
def sequence_ae(
    input_shape: SeriesShape = (),
    latent_dim: Size = 32,
    *,
    architecture: Literal["recurrent", "conv", "attention"] = "recurrent",
    units: Size = 64,
    mask_value: Number | None = None,
    output_activation: Activation = None,
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> SequenceAutoencoder:
    """An autoencoder of series with one code for the whole of each.

    Minimises the mean squared error of the reconstruction over the steps that are not padded.
    Series of different lengths must be padded at the end, with all features of a padded step at
    `mask_value`, as `keras.utils.pad_sequences(series, dtype="float32", padding="post",
    value=mask_value)` does. The encoder and the errors ignore padded steps.

    Args:
        input_shape: (steps, features); further axes are features too.
        latent_dim: Size of the code.
        architecture: "recurrent" (GRU), "conv", or "attention" (two transformer blocks).
        units: Width of the hidden layers; the first stage of "conv" has half of it.
        mask_value: Value of padded steps, or None if there are none.
        output_activation: Keras activation of the reconstruction; None for standardised
            series, "sigmoid" for data in [0, 1].
        seed: Integer that fixes the initial weights, or None.

    Returns:
        A compiled `SequenceAutoencoder`, codes (batch, latent_dim).

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> series = [np.sin(np.arange(n) / 3) for n in (20, 30, 25)]
    >>> x = keras.utils.pad_sequences(series, dtype="float32", padding="post", value=-9)[..., None]
    >>> model = aezoo.sequence_ae((30, 1), latent_dim=4, mask_value=-9, seed=0)
    >>> history = model.fit(x, verbose=0)
    >>> model.encode(x).shape
    (3, 4)

    Reference:
        Srivastava, Mansimov, Salakhutdinov, 2015, "Unsupervised Learning of Video
        Representations using LSTMs", https://arxiv.org/abs/1502.04681
    """
    seeds = Seeds(seed)
    series = (input_shape[0], math.prod(input_shape[1:]))
    x = inputs = keras.Input(input_shape, name="input")
    if len(input_shape) > 2:
        x = layers.Reshape(series, name="series")(x)
    mask = None
    if mask_value is not None:
        x, mask = Padding(mask_value, name="padding")(x)
    encode, decode = {
        "recurrent": (_recurrent_encoder, _recurrent_decoder),
        "conv": (_conv_encoder, _conv_decoder),
        "attention": (_attention_encoder, _attention_decoder),
    }[architecture]
    x = encode(x, mask, latent_dim, units, seeds)
    encoder = keras.Model(inputs, x, name="encoder")
    x = inputs = keras.Input((latent_dim,), name="code")
    x = decode(x, series, units, seeds)
    if len(input_shape) > 2:
        x = layers.Reshape(input_shape, name="shape")(x)
    x = layers.Activation(output_activation, dtype=output_dtype(), name="reconstruction")(x)
    return autoencoder(
        encoder,
        keras.Model(inputs, x, name="decoder"),
        model_class=SequenceAutoencoder,
        usual_learning_rate=0.001 if architecture == "attention" else 0.004,
        **shared,
    )


def _gru(units, seeds, name, **options):
    return layers.GRU(
        units,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seeds()),
        recurrent_initializer=keras.initializers.Orthogonal(seed=seeds()),
        seed=seeds(),
        name=name,
        **options,
    )


def _recurrent_encoder(x, mask, latent_dim, units, seeds):
    x = _gru(units, seeds, "recurrent")(x, mask=mask)
    return dense(latent_dim, seeds, "code")(x)


def _recurrent_decoder(x, series, units, seeds):
    x = layers.RepeatVector(series[0], name="steps")(x)
    # The decoder gets the code at every step and never the step before. If it read the true series
    # in training, it would learn to copy the last value and leave the code unused.
    x = _gru(units, seeds, "recurrent", return_sequences=True)(x)
    return dense(series[1], seeds, "output")(x)


def _conv_encoder(x, mask, latent_dim, units, seeds):
    filters = (max(1, units // 2), units)
    # A convolution has no mask; it sees the zeros that `Padding` put into padded steps.
    net = conv_encoder(x.shape[1:], latent_dim, filters, "silu", None, False, seeds)
    return keras.Model(net.input, net.output, name="network")(x)


def _conv_decoder(x, series, units, seeds):
    filters = (max(1, units // 2), units)
    net = conv_decoder(series, x.shape[-1], filters, "silu", None, False, seeds)
    return keras.Model(net.input, net.output, name="network")(x)


def _attention_encoder(x, mask, latent_dim, units, seeds):
    steps = x.shape[1]
    x = dense(units, seeds, "embedding")(x)
    # A series is an image of one column.
    x = AddPositions((steps, 1), name="positions")(x)
    for i in range(DEPTH):
        x = transformer_block(x, units, HEADS, seeds, f"block_{i}", mask)
    x = layers.LayerNormalization(name="normalisation")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x, mask=mask)
    return dense(latent_dim, seeds, "code")(x)


def _attention_decoder(x, series, units, seeds):
    x = dense(units, seeds, "embedding", "silu")(x)
    x = layers.RepeatVector(series[0], name="steps")(x)
    x = AddPositions((series[0], 1), name="positions")(x)
    for i in range(DEPTH):
        x = transformer_block(x, units, HEADS, seeds, f"block_{i}")
    x = layers.LayerNormalization(name="normalisation")(x)
    return dense(series[1], seeds, "output")(x)


@keras.saving.register_keras_serializable("aezoo")
class Padding(layers.Layer):
    """Series with padded steps set to 0, and a mask (batch, steps) of the other steps."""

    def __init__(self, mask_value, **kwargs):
        super().__init__(**kwargs)
        self.mask_value = mask_value

    def call(self, x):
        mask = steps_there(x, self.mask_value)
        # Zeros, because a `mask_value` such as -999 would dominate the steps next to it.
        return ops.where(mask[..., None], x, ops.zeros_like(x)), mask

    def get_config(self):
        return {**super().get_config(), "mask_value": self.mask_value}


def steps_there(x, mask_value):
    """(batch, steps): whether any feature of a step differs from `mask_value`."""
    return ops.any(ops.not_equal(x, mask_value), tuple(range(2, len(x.shape))))


@keras.saving.register_keras_serializable("aezoo")
class SequenceAutoencoder(Autoencoder):
    """An autoencoder of series whose errors ignore padded steps, made by `sequence_ae`."""

    weighs_errors = True

    @property
    def mask_value(self) -> float | None:
        """The value of padded steps, or None."""
        names = [layer.name for layer in self.encoder.layers]
        return self.encoder.get_layer("padding").mask_value if "padding" in names else None

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        weight = self._weights(x, y, sample_weight)
        # Keras divides a weighted loss by the number of all steps, not by the sum of the weights.
        if self.mask_value is not None:  # this gives the mean over the steps that are not padded
            weight = weight / ops.maximum(ops.mean(self._there(x, y)), 1e-6)
        return super().compute_loss(x, y, y_pred, weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y, y_pred, self._weights(x, y, sample_weight))

    def _there(self, x, y):
        there = steps_there(self._target(x, y), self.mask_value)
        return ops.cast(there, keras.config.floatx())

    def _weights(self, x, y, sample_weight):
        """Weights of the steps, (batch, steps, 1, ...) without the last axis of the input."""
        if self.mask_value is None:
            return sample_weight
        there = self._there(x, y)
        there = ops.reshape(there, (-1, there.shape[1], *[1] * (len(self.output_shape) - 3)))
        return weighed(there, sample_weight)

    def _sample_errors(self, clean, reconstruction):
        if self.mask_value is None:
            return super()._sample_errors(clean, reconstruction)
        # The same errors as in `compute_loss`, in NumPy and per sample.
        there = np.any(clean != self.mask_value, tuple(range(2, clean.ndim)))
        squares = np.square(clean - reconstruction).reshape(*there.shape, -1).mean(-1)
        return (squares * there).sum(1) / np.maximum(there.sum(1), 1)
