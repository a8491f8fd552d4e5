"""Registered Keras metrics of autoencoders."""

import keras
from keras import ops

ACTIVE_VARIANCE = 0.01


@keras.saving.register_keras_serializable("aezoo")
class ActiveUnits(keras.metrics.Metric):
    """How many units of the code tell samples apart: their variance is above 0.01.

    A unit of a variational autoencoder that collapsed to the prior has the same mean for
    every sample, and is not counted.

    Args:
        units: Size of the code.

    Example:

    >>> metric = ActiveUnits(2)
    >>> metric.update_state(np.array([[0.0, 1.0], [0.0, 2.0]], "float32"))
    >>> float(metric.result())
    1.0

    Reference:
        Burda, Grosse, Salakhutdinov, 2016, "Importance Weighted Autoencoders",
        https://arxiv.org/abs/1509.00519
    """

    def __init__(self, units: int, name="active_units", **kwargs):
        super().__init__(name=name, **kwargs)
        self.units = units
        self.count = self.add_weight(name="count", initializer="zeros")
        self.sums = self.add_weight(name="sums", shape=(units,), initializer="zeros")
        self.squares = self.add_weight(name="squares", shape=(units,), initializer="zeros")

    def update_state(self, codes, sample_weight=None):
        """Adds codes (batch, units)."""
        codes = ops.cast(codes, self.dtype)
        self.count.assign_add(ops.cast(ops.shape(codes)[0], self.dtype))
        self.sums.assign_add(ops.sum(codes, 0))
        self.squares.assign_add(ops.sum(codes * codes, 0))

    def result(self):
        count = ops.maximum(self.count, 1.0)
        mean = self.sums / count
        variance = self.squares / count - mean * mean
        return ops.sum(ops.cast(variance > ACTIVE_VARIANCE, self.dtype))

    def get_config(self):
        return {**super().get_config(), "units": self.units}
