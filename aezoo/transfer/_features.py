"""One vector per sample, from any encoder or any layer of it."""

from __future__ import annotations

import numpy as np

from aezoo.inputs.annotations import Size, checked
from aezoo.inputs.arguments import nearest
from aezoo.inputs.arrays import as_array, check_batches, is_array
from aezoo.inputs.training_data import check_inputs
from aezoo.model_classes.pixel_model import PixelModel
from aezoo.model_classes.pooling import Pooling, encoder_of, pooled


@checked
def features(model, data, *, pooling: Pooling = None, batch_size: Size = 256) -> np.ndarray:
    """One vector per sample, from any encoder.

    Args:
        model: An `Autoencoder`, an encoder, or any Keras model with one input.
        data: Array (samples, *input_shape), or a dataset of batches of it, which is
            streamed; labels are ignored.
        pooling: How codes with positions, (batch, ..., channels), become vectors: "mean" or
            "max" over the positions, "flatten", or None for "mean". Codes (batch, size) stay.
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
        `classifier` take like an encoder.

    Raises:
        ValueError: if there is no such layer; the message names those that there are.

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
    # Of several outputs, such as the visible tokens and their places in `masked_ae`, the first.
    if isinstance(output, (list, tuple)):
        output = output[0]
    return PixelModel(encoder.inputs[0], output, name=f"{encoder.name}_{name}")
