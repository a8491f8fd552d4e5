"""The last activation of a decoder whose data lie in [0, 1]."""

import keras
from keras import ops

from aezoo.inputs.arguments import check_activation


@keras.saving.register_keras_serializable("aezoo")
def clip(x):
    """The activation that cuts reconstructions to [0, 1]; its slope inside is 1."""
    return ops.clip(x, 0.0, 1.0)


def output_activation_of(name):
    """What `keras.layers.Activation` takes for an `output_activation`, which may be "clip"."""
    check_activation("output_activation", clip if name == "clip" else name)
    return clip if name == "clip" else name
