"""The last activation of a decoder whose data lie in [0, 1]."""

from typing import Annotated

import keras
from keras import ops
from pydantic import BeforeValidator

from aezoo.inputs.annotations import Activation


@keras.saving.register_keras_serializable("aezoo")
def clip(x):
    """An activation that limits reconstructions to [0, 1]; its slope inside this range is 1."""
    # A sigmoid needs large inputs to get close to 0 or 1, so that black and white are not sharp.
    # This function reaches both, and passes no gradient outside of [0, 1].
    return ops.clip(x, 0.0, 1.0)


OutputActivation = Annotated[
    Activation,
    BeforeValidator(lambda value: clip if value == "clip" else value),
    "'clip', a Keras activation, such as 'sigmoid', 'tanh', 'relu' or 'linear', or None",
]
