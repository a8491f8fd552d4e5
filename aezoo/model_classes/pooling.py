"""Encoders whose codes are vectors."""

from __future__ import annotations

from typing import Literal

import keras
from keras import layers

from aezoo.model_classes.autoencoder import Autoencoder, check_code
from aezoo.model_classes.pixel_model import PixelModel

Pooling = Literal["mean", "max", "flatten"] | None


def encoder_of(model) -> keras.Model:
    """The encoder of an autoencoder; another Keras model with one input, with the pixel rule."""
    check_code("model", model)
    encoder = model.encoder if isinstance(model, Autoencoder) else model
    inputs = getattr(encoder, "inputs", None)
    if not inputs or len(inputs) > 1 or len(encoder.outputs) > 1:
        raise ValueError(
            "`model` must be an Autoencoder or a functional or Sequential Keras model, with one "
            f"input and one output. Received: {model!r}"
        )
    # Already with the pixel rule; any other model gets it by being wrapped.
    if isinstance(encoder, PixelModel):
        return encoder
    return PixelModel(encoder.inputs[0], encoder.outputs[0], name=encoder.name)


def pooled(encoder, pooling: str | None) -> PixelModel:
    """The encoder with vectors as codes."""
    inputs = keras.Input(encoder.inputs[0].shape[1:], name="input")
    return PixelModel(inputs, pool(encoder(inputs), pooling), name="features")


def pool(codes, pooling: str | None):
    """Vectors (batch, size) of codes (batch, ..., channels)."""
    rank = len(codes.shape)
    if rank == 2:
        return codes
    if pooling == "flatten" or rank > 4:
        return layers.Flatten(name="pool")(codes)
    kinds = {
        (3, "mean"): layers.GlobalAveragePooling1D,
        (3, "max"): layers.GlobalMaxPooling1D,
        (4, "mean"): layers.GlobalAveragePooling2D,
        (4, "max"): layers.GlobalMaxPooling2D,
    }
    return kinds[rank, pooling or "mean"](name="pool")(codes)
