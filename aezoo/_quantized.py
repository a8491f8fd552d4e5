"""The autoencoder whose codes are entries of a codebook: tokens, and bytes to store."""

from __future__ import annotations

import math

import keras
import numpy as np

from aezoo._autoencoder import Autoencoder
from aezoo._checks import as_array, to_numpy
from aezoo.layers.quantizer import VectorQuantizer


@keras.saving.register_keras_serializable("aezoo")
class VectorQuantizedAutoencoder(Autoencoder):
    """An autoencoder with a codebook, made by `vq_vae`.

    `encode` returns the quantised code; `tokens` the numbers of its entries.

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
        """Bits that hold the number of an entry."""
        return max(1, math.ceil(math.log2(self.quantizer.codebook_size)))

    @property
    def bits_per_sample(self) -> int:
        """Bits that `compress` takes for one sample."""
        return math.prod(self._grid) * self.bits_per_token

    def tokens(self, x, batch_size: int = 256) -> np.ndarray:
        """The numbers of the entries of the codes of `x`.

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
        parts = np.array_split(codes, max(1, len(codes) // batch_size))
        indices = [to_numpy(self.quantizer.indices(part)) for part in parts]
        return np.concatenate(indices).astype("int32")

    def decode_tokens(self, tokens, batch_size: int = 256) -> np.ndarray:
        """Reconstructions of `tokens`, an array of integers (samples, *grid).

        Raises:
            ValueError: if they are no numbers of entries, or of another shape.
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
        """`x` as bytes: `bits_per_sample` bits for each sample, behind one byte that says how
        many bits at the end are none of them.
        """
        tokens = self.tokens(x, batch_size).reshape(-1, 1)
        bits = np.packbits(((tokens >> np.arange(self.bits_per_token)) & 1).astype("uint8"))
        return bytes([8 * len(bits) - tokens.size * self.bits_per_token]) + bits.tobytes()

    def decompress(self, stored: bytes, batch_size: int = 256) -> np.ndarray:
        """Reconstructions of what `compress` stored, an array (samples, *input_shape).

        Raises:
            ValueError: if it is not of that length, or names entries that there are not.
        """
        whole = isinstance(stored, (bytes, bytearray, memoryview)) and len(stored) > 1
        size = 8 * (len(stored) - 1) - stored[0] if whole else 0
        if size < 1 or size % self.bits_per_sample or stored[0] > 7:
            raise ValueError(
                f"`stored` must be bytes of `compress`, {self.bits_per_sample} bits a sample. "
                f"Received: {f'{len(stored)} bytes' if whole else f'a {type(stored).__name__}'}"
            )
        bits = np.unpackbits(np.frombuffer(stored, "uint8")[1:])[:size]
        bits = bits.reshape(-1, self.bits_per_token)
        tokens = bits.astype("int64") @ (1 << np.arange(self.bits_per_token))
        return self.decode_tokens(tokens.reshape(-1, *self._grid), batch_size)

    @property
    def _grid(self):
        return tuple(self.encoder.output_shape[1:-1])
