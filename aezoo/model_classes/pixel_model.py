"""The pixel rule, which a model applies to what enters it."""

from __future__ import annotations

import keras

from aezoo.backends import keras_private
from aezoo.backends.engine import distribution_of, keeping_variables, without_retracing_warnings
from aezoo.inputs.arrays import to_numpy
from aezoo.inputs.pixels import scale_for_torch, scale_pixels


class PixelRule(keras_private.MadeBefore):
    """What a functional Keras model of this package does besides: pixels and replicas.

    What enters is scaled where it is of pixels; of several inputs it is the first that holds
    them. Steps run on all replicas of a strategy, and predictions on one.
    """

    def make_train_function(self, force=False):
        distribution = distribution_of(self)
        if distribution is None:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = distribution.function(self, self.train_step)
        return self.train_function

    def make_test_function(self, force=False):
        distribution = distribution_of(self)
        if distribution is None:
            return super().make_test_function(force)
        if self.test_function is None or force:
            self.test_function = distribution.function(self, self.test_step)
        return self.test_function

    @property
    def has_its_variables(self) -> bool:
        """Keras would reduce a batch of several replicas; `Distribution.shares` makes them."""
        return distribution_of(self) is not None

    def call(self, inputs, training=None, mask=None):
        # Here rather than in `fit`, since every way in ends here: `model(x)`, `predict`, a graph
        # that is exported. Keras then casts integers to floats as they are: 255 would stay 255.
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


@keras.saving.register_keras_serializable("aezoo")
class PixelModel(PixelRule, keras.Model):
    """A functional Keras model with the pixel rule, such as an encoder."""
