"""The choice between dense and convolutional networks, for families that take either."""

import keras

from aezoo.models.conv import conv_decoder, conv_encoder
from aezoo.models.dense import dense_decoder, dense_encoder

ARCHITECTURES = ("dense", "conv")


def make_encoder(architecture, input_shape, units, hidden_units, filters, activation, seeds):
    """A net from inputs to (batch, units)."""
    if architecture == "dense":
        net = dense_encoder(input_shape, units, hidden_units, activation, None, seeds)
    else:
        net = conv_encoder(input_shape, units, filters, activation, None, False, seeds)
    return keras.Model(net.input, net.output, name="network")


def make_decoder(
    architecture, input_shape, units, hidden_units, filters, activation, output_activation, seeds
):
    """A net from (batch, units) to reconstructions."""
    rest = (activation, output_activation)
    if architecture == "dense":
        return dense_decoder(input_shape, units, hidden_units, *rest, seeds)
    return conv_decoder(input_shape, units, filters, *rest, False, seeds)
