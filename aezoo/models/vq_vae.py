"""Vector-quantised autoencoders: the code is a grid of entries of a learnt codebook."""

from __future__ import annotations

import math
from typing import Literal, Unpack

import keras
import numpy as np
from keras import layers

from aezoo.inputs.annotations import (
    Activation,
    AnyShape,
    Architecture,
    NonNegative,
    Seed,
    Share,
    Size,
    Sizes,
    SizesOrEmpty,
)
from aezoo.inputs.arguments import check_input_shape
from aezoo.inputs.arrays import as_array, to_numpy
from aezoo.layers.quantizer import VectorQuantizer
from aezoo.layers.seeds import Seeds
from aezoo.model_classes.autoencoder import Autoencoder
from aezoo.models._build import autoencoder
from aezoo.models._registry import register
from aezoo.models._shared import Shared
from aezoo.models.conv import conv_decoder, conv_encoder
from aezoo.models.dense import dense_decoder, dense_encoder


@keras.saving.register_keras_serializable("aezoo")
class VectorQuantizedAutoencoder(Autoencoder):
    """An autoencoder with a codebook, made by `vq_vae`.

    `encode` returns the quantised code, and `tokens` the indices of its entries.

    Example:

    >>> model = aezoo.vq_vae((8, 8, 1), codebook_size=64, seed=0)
    >>> x = aezoo.data.arrays("digits")[:10]
    >>> stored = model.compress(x)
    >>> len(stored)  # 10 samples of 4 tokens of 6 bits, and a byte
    31
    >>> bool(np.allclose(model.decompress(stored), model.reconstruct(x), atol=1e-6))
    True
    """

    @property
    def quantizer(self) -> VectorQuantizer:
        """The layer that holds the codebook."""
        return self.encoder.get_layer("quantizer")

    @property
    def bits_per_token(self) -> int:
        """Number of bits for the index of an entry."""
        return max(1, math.ceil(math.log2(self.quantizer.codebook_size)))

    @property
    def bits_per_sample(self) -> int:
        """Number of bits that `compress` needs per sample."""
        return math.prod(self._grid) * self.bits_per_token

    def tokens(self, x, batch_size: int = 256) -> np.ndarray:
        """The indices of the codebook entries in the codes of `x`.

        Args:
            x: Array (samples, *input_shape), or a dataset of batches of it.
            batch_size: How many samples of an array go through at once.

        Returns:
            Array (samples, *grid), int32; the grid is the code's shape without its last axis.

        Raises:
            ValueError: if shape or dtype do not fit the model.
        """
        codes = self.encode(x, batch_size)
        if not len(codes):
            return np.empty((0, *self._grid), "int32")
        # The codes are entries already; the nearest entry to one is itself.
        parts = np.array_split(codes, max(1, len(codes) // batch_size))
        indices = [to_numpy(self.quantizer.indices(part)) for part in parts]
        return np.concatenate(indices).astype("int32")

    def decode_tokens(self, tokens, batch_size: int = 256) -> np.ndarray:
        """Reconstructions of `tokens`, an array of integers (samples, *grid).

        Raises:
            ValueError: if they are not indices of entries, or have another shape.
        """
        tokens = np.asarray(as_array(tokens))
        last = self.quantizer.codebook_size - 1
        whole = np.issubdtype(tokens.dtype, np.integer) and tokens.shape[1:] == self._grid
        if not whole or (tokens.size and (tokens.min() < 0 or tokens.max() > last)):
            received = f"{tokens.dtype} of shape {tokens.shape}"
            if whole:
                received = f"integers from {tokens.min()} to {tokens.max()}"
            raise ValueError(
                f"`tokens` must be integers of 0 to {last} of shape {('samples', *self._grid)}. "
                f"Received: {received}"
            )
        return self.decode(to_numpy(self.quantizer.lookup(tokens)), batch_size)

    def compress(self, x, batch_size: int = 256) -> bytes:
        """`x` as bytes: one byte, then `bits_per_sample` bits per sample.

        The first byte says how many bits at the end are not used.
        """
        tokens = self.tokens(x, batch_size).reshape(-1, 1)
        # Every token has the same length. A code by entropy would be shorter, but would need the
        # frequencies of the tokens too.
        bits = np.packbits(((tokens >> np.arange(self.bits_per_token)) & 1).astype("uint8"))
        return bytes([8 * len(bits) - tokens.size * self.bits_per_token]) + bits.tobytes()

    def decompress(self, stored: bytes, batch_size: int = 256) -> np.ndarray:
        """Reconstructions of what `compress` stored, an array (samples, *input_shape).

        Raises:
            ValueError: if its length is wrong, or if it has indices of entries that do not exist.
        """
        whole = isinstance(stored, (bytes, bytearray, memoryview)) and len(stored) > 1
        size = 8 * (len(stored) - 1) - stored[0] if whole else 0
        if size < 1 or size % self.bits_per_sample or stored[0] > 7:
            raise ValueError(
                f"`stored` must be bytes of `compress`, {self.bits_per_sample} bits per sample. "
                f"Received: {f'{len(stored)} bytes' if whole else f'a {type(stored).__name__}'}"
            )
        bits = np.unpackbits(np.frombuffer(stored, "uint8")[1:])[:size]
        bits = bits.reshape(-1, self.bits_per_token)
        tokens = bits.astype("int64") @ (1 << np.arange(self.bits_per_token))
        return self.decode_tokens(tokens.reshape(-1, *self._grid), batch_size)

    @property
    def _grid(self):
        return tuple(self.encoder.output_shape[1:-1])


@register
def vq_vae(
    input_shape: AnyShape = (),
    embedding_dim: Size = 16,
    *,
    codebook_size: Size = 512,
    architecture: Architecture = "conv",
    filters: Sizes = (32, 64),
    hidden_units: SizesOrEmpty = (512,),
    positions: Size = 32,
    activation: Activation = "silu",
    update: Literal["ema", "gradient"] = "ema",
    decay: Share = 0.99,
    commitment_weight: NonNegative = 0.25,
    output_activation: Activation = "sigmoid",
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> VectorQuantizedAutoencoder:
    """An autoencoder whose code is made of entries of a codebook, so that it can be stored.

    Minimises the mean squared error of the reconstruction plus `commitment_weight` times the mean
    squared distance of the encoder's output from its nearest entries. The gradient of the
    reconstruction passes straight through the quantisation. The codebook follows the encoder by
    moving averages, or by the gradient of the same distance; entries that are out of use begin
    again at an output of the encoder. History has `perplexity`, the effective number of entries in
    use, and `used_codes`.

    Args:
        input_shape: (height, width, channels) or (steps, channels), any sizes; any rank for
            "dense".
        embedding_dim: Size of an entry of the codebook.
        codebook_size: Number of entries.
        architecture: "conv" or "dense".
        filters: For "conv": channels of the stages; each stage halves the size of the grid.
        hidden_units: For "dense": units of the encoder's hidden layers; the decoder mirrors
            them.
        positions: For "dense": number of entries in a code.
        activation: Keras activation of the hidden layers.
        update: How the codebook follows: "ema" (moving averages) or "gradient".
        decay: Decay of the moving averages per step.
        commitment_weight: Weight of the distance in the encoder's loss.
        output_activation: Keras activation of the reconstruction: "sigmoid" for pixels
            and other data in [0, 1], None for any other.
        seed: Integer that fixes initial weights and revivals, or None.

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
    shape = check_input_shape(input_shape, (2, 3) if architecture == "conv" else (1, 2, 3, 4))
    seeds = Seeds(seed)
    if architecture == "conv":
        net = conv_encoder(shape, embedding_dim, filters, activation, None, True, seeds)
        x = net.output
    else:
        units = positions * embedding_dim
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
    return autoencoder(
        encoder,
        decoder,
        model_class=VectorQuantizedAutoencoder,
        usual_learning_rate=0.002,
        **shared,
    )
