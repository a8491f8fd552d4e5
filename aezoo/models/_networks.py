"""The choice between dense and convolutional networks, for families that accept both."""

from __future__ import annotations

import dataclasses

import keras

from aezoo.layers.seeds import Seeds
from aezoo.models.conv import conv_decoder, conv_encoder
from aezoo.models.dense import dense_decoder, dense_encoder


@dataclasses.dataclass
class Networks:
    """The networks of one model between samples and vectors, seeded from one sequence."""

    architecture: str
    input_shape: tuple[int, ...]
    hidden_units: tuple[int, ...]
    filters: tuple[int, ...]
    activation: object
    output_activation: object
    seeds: Seeds

    def encoder(self, units: int) -> keras.Model:
        """From inputs to (batch, units)."""
        if self.architecture == "dense":
            net = dense_encoder(
                self.input_shape, units, self.hidden_units, self.activation, None, self.seeds
            )
        else:
            net = conv_encoder(
                self.input_shape, units, self.filters, self.activation, None, False, self.seeds
            )
        return keras.Model(net.input, net.output, name="network")

    def decoder(self, units: int) -> keras.Model:
        """From (batch, units) to reconstructions."""
        activations = self.activation, self.output_activation
        if self.architecture == "dense":
            return dense_decoder(
                self.input_shape, units, self.hidden_units, *activations, self.seeds
            )
        return conv_decoder(self.input_shape, units, self.filters, *activations, False, self.seeds)
