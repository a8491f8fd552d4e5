"""The pixel rule, and the model that applies it to what enters."""

from __future__ import annotations

import keras
from keras import ops

from aezoo._checks import PIXEL_RANGES, check_dtype, scale_for_torch, to_numpy
from aezoo._jax import keeping_variables
from aezoo._quiet import without_retracing_warnings
from aezoo._replicas import OnReplicas, distribution_of


def scale_pixels(x, dtype: str | None = None):
    """The pixel rule: uint8 and uint16 become [0, 1] by their dtype's range.

    Args:
        x: A tensor. Floats keep their values, booleans become 0 and 1.
        dtype: The float dtype of the result; None is Keras's default.

    Raises:
        ValueError: for any other dtype.
    """
    received = check_dtype(x.dtype)
    x = ops.cast(x, dtype or keras.config.floatx())
    return x / PIXEL_RANGES[received] if received in PIXEL_RANGES else x


@keras.saving.register_keras_serializable("aezoo")
class PixelModel(OnReplicas, keras.Model):
    """A functional Keras model that applies the pixel rule to what enters it.

    Where there are several inputs it is the first that holds pixels.
    """

    def call(self, inputs, training=None, mask=None):
        if isinstance(inputs, (tuple, list)):
            pixels, *others = inputs
            inputs = (scale_pixels(pixels, self.inputs[0].dtype), *others)
        else:
            inputs = scale_pixels(inputs, self.inputs[0].dtype)
        return super().call(inputs, training=training, mask=mask)

    def predict(self, x, batch_size: int | None = None, **options):
        distribution = distribution_of(self)
        if distribution is not None:
            return distribution.predict(self, x, batch_size)
        with without_retracing_warnings(), keeping_variables(self):
            outputs = super().predict(scale_for_torch(x), batch_size, **options)
        return keras.tree.map_structure(to_numpy, outputs)

    def predict_on_batch(self, x):
        distribution = distribution_of(self)
        if distribution is not None:
            return distribution.predict_on_batch(self, x)
        with without_retracing_warnings():
            outputs = super().predict_on_batch(scale_for_torch(x))
        return keras.tree.map_structure(to_numpy, outputs)

    def zero_grad(self, set_to_none: bool = True):
        """Drops all gradients on torch, where encoder and decoder may have paths in common.

        Keras knows a parameter by its path there, so that torch would find only one of two.
        """
        for variable in self.trainable_variables:
            variable.value.grad = None
