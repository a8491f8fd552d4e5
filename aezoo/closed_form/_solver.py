"""What the solvers share: settings that are saved, and pictures of the model's inputs."""

from __future__ import annotations

import dataclasses

import keras
from keras import layers, ops

from aezoo._arguments import check_activation
from aezoo._build import autoencoder
from aezoo._pixels import PixelModel
from aezoo._precision import output_dtype
from aezoo.closed_form._model import ClosedForm


@dataclasses.dataclass
class Solver:
    """The settings of a closed form, and its stages (`aezoo.closed_form._passes.Stage`)."""

    def stages(self, model):
        """The stages in their order, each made when the one before it was solved."""
        raise NotImplementedError

    def get_config(self):
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        return cls(**config)


FINE_TUNING_RATE = 1e-4  # a higher one leaves the solution before it can improve on it


def closed_form(encoder, decoder, solver: Solver, loss, **options) -> ClosedForm:
    """A compiled `ClosedForm` of two networks and its solver."""
    if options.get("learning_rate") is None and isinstance(options.get("optimizer"), str):
        options["learning_rate"] = FINE_TUNING_RATE
    model = autoencoder(encoder, decoder, loss=loss or "mse", model_class=ClosedForm, **options)
    model.solver = solver
    return model


def reconstruction(x, shape, output_activation):
    """Flat outputs in the shape of the inputs, with the last activation."""
    if len(shape) > 1:
        x = layers.Reshape(shape, name="unflatten")(x)
    if output_activation == "clip":
        output_activation = clip
    check_activation("output_activation", output_activation)
    return layers.Activation(output_activation, dtype=output_dtype(), name="reconstruction")(x)


def flat_input(model):
    """An input of the model and its elements as (batch, elements)."""
    inputs = keras.Input(model.input_shape[1:])
    return inputs, layers.Flatten(dtype=output_dtype())(inputs)


def make_network(inputs, *outputs) -> PixelModel:
    """The network of a stage; pixels are scaled where they enter."""
    return PixelModel(inputs, list(outputs))


@keras.saving.register_keras_serializable("aezoo")
class Centre(layers.Layer):
    """Subtracts a vector before anything else, which keeps the digits of far-off data."""

    def build(self, input_shape):
        self.mean = self.add_weight(name="mean", shape=input_shape[1:], initializer="zeros")

    def call(self, inputs):
        return inputs - self.mean

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("aezoo")
def clip(x):
    """The activation that cuts reconstructions to [0, 1]; its slope inside is 1."""
    return ops.clip(x, 0.0, 1.0)
