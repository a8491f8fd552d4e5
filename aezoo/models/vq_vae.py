"""Vector-quantised autoencoders: the code is a grid of entries of a learnt codebook."""

from __future__ import annotations

import keras
from keras import layers

from aezoo._arguments import (
    check_choice,
    check_input_shape,
    check_number,
    check_positive_integer,
)
from aezoo._build import autoencoder
from aezoo._quantized import VectorQuantizedAutoencoder
from aezoo._registry import register
from aezoo._seeds import Seeds
from aezoo.layers.quantizer import VectorQuantizer
from aezoo.models._networks import ARCHITECTURES
from aezoo.models.conv import conv_decoder, conv_encoder
from aezoo.models.dense import dense_decoder, dense_encoder


@register
def vq_vae(
    input_shape: tuple[int, ...],
    embedding_dim: int = 16,
    codebook_size: int = 512,
    architecture: str = "conv",
    filters: tuple[int, ...] = (32, 64),
    hidden_units: tuple[int, ...] = (512,),
    positions: int = 32,
    activation: str | None = "silu",
    update: str = "ema",
    decay: float = 0.99,
    commitment_weight: float = 0.25,
    output_activation: str | None = "sigmoid",
    *,
    weights: str | None = None,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    loss: str | None = None,
    learning_rate: float | None = None,
    jit_compile: bool | str = "auto",
    compile: bool = True,
    seed: int | None = None,
    name: str = "vq_vae",
) -> VectorQuantizedAutoencoder:
    """An autoencoder whose code is made of entries of a codebook, so that it can be stored.

    Minimises the mean squared error of the reconstruction plus `commitment_weight` times the
    mean squared distance of the encoder's output from its nearest entries, through which the
    gradient passes straight. The codebook follows the encoder by moving averages, or by the
    gradient of the same distance; entries out of use begin again at an output of the encoder.
    History has `perplexity`, how many entries are in even use, and `used_codes`; on JAX they
    are left out, as Keras does not keep the metrics of layers there.

    Args:
        input_shape: (height, width, channels) or (steps, channels), any sizes; any rank for
            "dense".
        embedding_dim: Size of an entry of the codebook.
        codebook_size: Number of entries.
        architecture: "conv" or "dense".
        filters: For "conv": channels of the stages, each of which halves the size of the grid.
        hidden_units: For "dense": units of the encoder's hidden layers; the decoder mirrors
            them.
        positions: For "dense": number of entries in a code.
        activation: Keras activation of the hidden layers.
        update: "ema" or "gradient".
        decay: Of the moving averages, a step.
        commitment_weight: Weight of the distance in the encoder's loss.
        output_activation: Keras activation of the reconstruction: "sigmoid" for pixels
            and other data in [0, 1], None for any other.
        weights: None, or the path of a `.weights.h5` or `.keras` file.
        optimizer: Name of a Keras optimizer, or one, which is copied.
        loss: Keras loss of (clean input, reconstruction); None is "mse".
        learning_rate: None is 0.002 for an optimizer given by name.
        jit_compile: True, False, or "auto".
        compile: False returns the model without optimizer and loss.
        seed: Integer that fixes initial weights and revivals, or None.
        name: Name of the model.

    Returns:
        A compiled `VectorQuantizedAutoencoder`; codes are (batch, height / 2^stages,
        width / 2^stages, embedding_dim), or (batch, positions, embedding_dim).

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.vq_vae((8, 8, 1), embedding_dim=4, codebook_size=64, seed=0)
    >>> x = aezoo.data.arrays("digits")
    >>> history = model.fit(x, verbose=0)
    >>> model.tokens(x).shape, model.bits_per_sample
    ((1437, 2, 2), 24)

    Reference:
        van den Oord, Vinyals, Kavukcuoglu, 2017, "Neural Discrete Representation Learning",
        https://arxiv.org/abs/1711.00937
    """
    check_choice("architecture", architecture, ARCHITECTURES)
    shape = check_input_shape(input_shape, (2, 3) if architecture == "conv" else (1, 2, 3, 4))
    embedding_dim = check_positive_integer("embedding_dim", embedding_dim)
    codebook_size = check_positive_integer("codebook_size", codebook_size)
    check_choice("update", update, ("ema", "gradient"))
    check_number("decay", decay, 0, 1)
    check_number("commitment_weight", commitment_weight, 0)
    seeds = Seeds(seed)
    if architecture == "conv":
        net = conv_encoder(shape, embedding_dim, filters, activation, None, True, seeds)
        x = net.output
    else:
        units = check_positive_integer("positions", positions) * embedding_dim
        net = dense_encoder(shape, units, hidden_units, activation, None, seeds)
        x = layers.Reshape((positions, embedding_dim), name="grid")(net.output)
    quantizer = VectorQuantizer(
        codebook_size, commitment_weight, update, decay, seed=seeds(), name="quantizer"
    )
    encoder = keras.Model(net.input, quantizer(x), name="encoder")
    if architecture == "conv":
        decoder = conv_decoder(
            shape, embedding_dim, filters, activation, output_activation, True, seeds
        )
    else:
        net = dense_decoder(shape, units, hidden_units, activation, output_activation, seeds)
        inputs = keras.Input((positions, embedding_dim), name="grid")
        network = keras.Model(net.input, net.output, name="network")
        decoder = keras.Model(
            inputs, network(layers.Flatten(name="flatten")(inputs)), name="decoder"
        )
    if learning_rate is None and isinstance(optimizer, str):
        learning_rate = 0.002
    return autoencoder(
        encoder,
        decoder,
        model_class=VectorQuantizedAutoencoder,
        optimizer=optimizer,
        loss=loss or "mse",
        learning_rate=learning_rate,
        weights=weights,
        jit_compile=jit_compile,
        compile=compile,
        name=name,
    )
