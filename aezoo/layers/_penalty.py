"""Terms that layers add to the loss."""

import keras
from keras import ops


def add_penalty(layer, value) -> None:
    """`layer.add_loss` in the dtype of the loss, whatever the layer computes in."""
    layer.add_loss(ops.cast(value, keras.config.floatx()))
