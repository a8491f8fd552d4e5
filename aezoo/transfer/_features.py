"""One vector for each sample, from any encoder or any layer of it."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from aezoo._arguments import check_choice, check_positive_integer, nearest
from aezoo._autoencoder import Autoencoder
from aezoo._checks import as_array, check_batches, check_inputs, is_array
from aezoo._pixels import PixelModel

POOLINGS = (None, "mean", "max", "flatten")


def features(model, data, *, pooling: str | None = None, batch_size: int = 256) -> np.ndarray:
    """One vector for each sample, from any encoder.

    Args:
        model: An `Autoencoder`, an encoder, or any Keras model with one input.
        data: Array (samples, *input_shape), or a dataset of batches of it, which is
            streamed; labels behind the inputs are passed over.
        pooling: What is made of codes with places, (batch, ..., channels): "mean" or "max"
            over the places, "flatten", or None for "mean". Codes (batch, size) stay.
        batch_size: How many samples of an array go through at once.

    Returns:
        Array (samples, size).

    Raises:
        ValueError: if the model or the data is not of the kind above.

    Example:

    >>> model = aezoo.vq_vae((8, 8, 1), codebook_size=16, seed=0)
    >>> x = aezoo.data.arrays("digits")[:10]
    >>> model.encode(x).shape, aezoo.transfer.features(model, x).shape
    ((10, 2, 2, 16), (10, 16))
    """
    network = pooled(encoder_of(model), pooling)
    check_positive_integer("batch_size", batch_size)
    data = check_batches(as_array(data))
    if is_array(data):
        check_inputs(data, network.inputs[0].shape[1:])
    return network.predict(data, batch_size=batch_size if is_array(data) else None, verbose=0)


def layer_features(model, name: str) -> PixelModel:
    """The encoder up to one of its layers, as a model that shares its weights.

    Args:
        model: As in `features`.
        name: The name of a layer of the encoder.

    Returns:
        A Keras model from inputs to that layer's output, which `features`, the probes and
        `classifier` take as they take an encoder.

    Raises:
        ValueError: if there is no such layer; the sentence names those that there are.

    Example:

    >>> model = aezoo.dense_ae((8, 8, 1), 8, hidden_units=(64, 32), seed=0)
    >>> aezoo.transfer.layer_features(model, "hidden_0").output_shape
    (None, 64)
    """
    encoder = encoder_of(model)
    names = [layer.name for layer in encoder.layers]
    if not isinstance(name, str) or name not in names:
        raise ValueError(
            f"`name` must be a layer of the encoder: {', '.join(names)}{nearest(name, names)}. "
            f"Received: {name!r}"
        )
    output = encoder.get_layer(name).output
    if isinstance(output, (list, tuple)):
        output = output[0]
    return PixelModel(encoder.inputs[0], output, name=f"{encoder.name}_{name}")


def encoder_of(model) -> keras.Model:
    """The encoder of an autoencoder; another Keras model with one input, with the pixel rule."""
    encoder = model.encoder if isinstance(model, Autoencoder) else model
    inputs = getattr(encoder, "inputs", None)
    if not inputs or len(inputs) > 1 or len(encoder.outputs) > 1:
        raise ValueError(
            "`model` must be an Autoencoder or a functional or Sequential Keras model, with one "
            f"input and one output. Received: {model!r}"
        )
    if isinstance(encoder, PixelModel):
        return encoder
    return PixelModel(encoder.inputs[0], encoder.outputs[0], name=encoder.name)


def pooled(encoder, pooling: str | None) -> PixelModel:
    """The encoder with vectors as codes."""
    inputs = keras.Input(encoder.inputs[0].shape[1:], name="input")
    return PixelModel(inputs, pool(encoder(inputs), pooling), name="features")


def pool(codes, pooling: str | None):
    """Vectors (batch, size) of codes (batch, ..., channels)."""
    check_choice("pooling", pooling, POOLINGS)
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
