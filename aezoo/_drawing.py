"""Autoencoders that draw something in training, and in evaluation as well."""

import keras

from aezoo._autoencoder import Autoencoder


@keras.saving.register_keras_serializable("aezoo")
class DrawingAutoencoder(Autoencoder):
    """An autoencoder with a layer, `drawing_layer`, that draws codes or masks.

    `encode` and `reconstruct` do not draw; `fit` does, and so does `evaluate`, the same every
    time, so that `val_loss` is the loss that is trained.
    """

    @property
    def drawing_layer(self):
        """A layer with attributes `drawing` and `evaluation`, its `EvaluationDraws`."""
        raise NotImplementedError

    def test_step(self, *args):
        self.drawing_layer.drawing = True  # while this is traced
        try:
            return super().test_step(*args)
        finally:
            self.drawing_layer.drawing = False
