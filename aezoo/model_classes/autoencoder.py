"""The `Autoencoder`: a reconstruction model made of an encoder and a decoder."""

from __future__ import annotations

import math

import keras
import numpy as np

from aezoo.model_classes.reconstruction_model import ReconstructionModel


@keras.saving.register_keras_serializable("aezoo")
class Autoencoder(ReconstructionModel):
    """An encoder and a decoder, trained by `fit` on inputs alone.

    Made by `aezoo.autoencoder` and by nearly every factory of the zoo. All that holds of a
    `ReconstructionModel` holds here; `encode` and `decode` give the same result each time too.

    Example:

    >>> model = aezoo.dense_ae((64,), latent_dim=8, hidden_units=(32,), seed=0)
    >>> x = aezoo.data.arrays("digits").reshape(-1, 64)
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.reconstruct(x).shape
    ((1437, 8), (1437, 64))
    """

    @property
    def encoder(self) -> keras.Model:
        """The encoder, an ordinary Keras model from inputs to codes."""
        return self.get_layer("encoder")

    @property
    def decoder(self) -> keras.Model:
        """The decoder, an ordinary Keras model from codes to reconstructions."""
        return self.get_layer("decoder")

    @property
    def code_size(self) -> int:
        """How many numbers the code of a sample has."""
        return math.prod(self.encoder.output_shape[1:])

    def encode(self, x, batch_size: int = 256, *, labels=None) -> np.ndarray:
        """The codes of `x`.

        Args:
            x: Array (samples, *input_shape), or a dataset of batches of it; labels
                behind the inputs are ignored.
            batch_size: How many samples of an array go through at once.
            labels: The classes of an array of samples, for a conditional model.

        Returns:
            Array (samples, *code shape).

        Raises:
            ValueError: if shape or dtype do not fit the model.
        """
        return self._predict(self.encoder, x, batch_size, labels)

    def decode(self, z, batch_size: int = 256, *, labels=None) -> np.ndarray:
        """The reconstructions of codes `z`, an array (samples, *code shape) or a dataset.

        A conditional model takes the classes as `labels`; one integer is that of all.
        """
        return self._predict(self.decoder, z, batch_size, labels)


def check_code(name: str, model) -> None:
    """Refuses a reconstruction model without encoder, code and decoder."""
    if isinstance(model, ReconstructionModel) and not isinstance(model, Autoencoder):
        raise ValueError(
            f"`{name}` must be an Autoencoder, whose encoder gives a code. "
            f"Received: {model.name}, which has no code"
        )
