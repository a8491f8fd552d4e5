"""Compiled models of networks: `aezoo.autoencoder` of two, `reconstruction_model` of one."""

from __future__ import annotations

import pathlib

import keras

from aezoo.inputs.arguments import check_choice, check_flag
from aezoo.model_classes.autoencoder import Autoencoder
from aezoo.model_classes.compiling import check_loss, new_optimizer
from aezoo.model_classes.pixel_model import PixelModel
from aezoo.model_classes.reconstruction_model import ReconstructionModel
from aezoo.saving.load import load_weights


def autoencoder(
    encoder: keras.Model,
    decoder: keras.Model,
    *,
    corruption: keras.layers.Layer | None = None,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    loss=None,
    learning_rate: float | None = None,
    usual_learning_rate: float | None = None,
    weights: str | pathlib.Path | None = None,
    jit_compile: bool | str = "auto",
    compile: bool = True,
    name: str = "autoencoder",
    model_class: type[Autoencoder] = Autoencoder,
) -> Autoencoder:
    """Makes a compiled `Autoencoder` of two Keras models.

    Args:
        encoder: Functional or Sequential model from inputs (batch, *input_shape) to
            codes.
        decoder: Functional or Sequential model from codes to (batch, *input_shape).
        corruption: Layer between input and encoder, active in training only, or None.
        optimizer: Name of a Keras optimizer, or one, which is copied.
        loss: Any Keras loss of (clean input, reconstruction); None is "mse".
        learning_rate: None is `usual_learning_rate` for an optimizer given by name, and else the
            optimizer's own.
        usual_learning_rate: See there; None is Keras's own of that optimizer.
        weights: None, or the path of a `.weights.h5` or `.keras` file.
        jit_compile: True, False, or "auto": Keras chooses for the device.
        compile: False returns the model without optimizer and loss.
        name: Name of the model.
        model_class: `Autoencoder`, or a registered class derived from it.

    Returns:
        A compiled `Autoencoder` that reports `loss` and `mse`. It shares its layers
        with `encoder` and `decoder`.

    Raises:
        ValueError: if the two models do not fit each other, or an argument is not of the
            kind above.

    Example:

    >>> encoder = keras.Sequential([keras.Input((64,)), keras.layers.Dense(8)])
    >>> decoder = keras.Sequential([keras.Input((8,)), keras.layers.Dense(64)])
    >>> aezoo.autoencoder(encoder, decoder).output_shape
    (None, 64)
    """
    if not isinstance(model_class, type) or not issubclass(model_class, Autoencoder):
        raise ValueError(
            f"`model_class` must be Autoencoder or a class derived from it. "
            f"Received: {model_class!r}"
        )
    encoder = _functional(encoder, "encoder", PixelModel)
    decoder = _functional(decoder, "decoder", keras.Model)
    input_shape, code_shape = encoder.inputs[0].shape, decoder.inputs[0].shape
    if code_shape != encoder.output_shape:
        raise ValueError(
            f"`decoder` must take the encoder's codes, {encoder.output_shape}. "
            f"Received: a decoder of {code_shape}"
        )
    if decoder.output_shape != input_shape:
        raise ValueError(
            f"`decoder` must return the encoder's input shape, {input_shape}. "
            f"Received: a decoder that returns {decoder.output_shape}"
        )
    inputs, x = _corrupted_input(input_shape[1:], corruption)
    labels = [
        keras.Input(tensor.shape[1:], dtype="int32", name="labels") for tensor in encoder.inputs[1:]
    ]
    code = encoder(_joined(x, labels))
    model = model_class(_joined(inputs, labels), decoder(_joined(code, labels)), name=name)
    return _compiled(
        model,
        optimizer,
        loss,
        learning_rate,
        usual_learning_rate,
        weights,
        jit_compile,
        compile,
    )


def reconstruction_model(
    network: keras.Model,
    *,
    corruption: keras.layers.Layer | None = None,
    name: str = "reconstruction_model",
    **options,
) -> ReconstructionModel:
    """A compiled `ReconstructionModel` of one network from inputs to reconstructions.

    It is what `autoencoder` makes of an encoder and a decoder, with the same options.
    """
    inputs, x = _corrupted_input(network.input_shape[1:], corruption)
    return _compiled(ReconstructionModel(inputs, network(x), name=name), **options)


def _corrupted_input(shape, corruption):
    """The input of a model, and what its net sees of it."""
    x = inputs = keras.Input(shape, name="input")
    if corruption is None:
        return inputs, x
    if not isinstance(corruption, keras.layers.Layer):
        raise ValueError(f"`corruption` must be a Keras layer or None. Received: {corruption!r}")
    config = {**corruption.get_config(), "name": "corruption"}
    return inputs, type(corruption).from_config(config)(x)


def _compiled(
    model,
    optimizer="adam",
    loss=None,
    learning_rate=None,
    usual_learning_rate=None,
    weights=None,
    jit_compile="auto",
    compile=True,
):
    check_choice("jit_compile", jit_compile, ("auto", True, False))
    if learning_rate is None and isinstance(optimizer, str):
        learning_rate = usual_learning_rate
    loss = "mse" if loss is None else loss
    check_loss(loss)
    if check_flag("compile", compile):
        errors = "weighted_metrics" if model.weighs_errors else "metrics"
        model.compile(
            optimizer=new_optimizer(optimizer, learning_rate),
            loss=loss,
            jit_compile=jit_compile,
            **{errors: [keras.metrics.MeanSquaredError(name="mse")]},
        )
    if weights is not None:
        load_weights(model, weights)
    return model


def _functional(network, name: str, model_class):
    inputs = getattr(network, "inputs", None)
    outputs = getattr(network, "outputs", None)
    if not inputs or not outputs or len(inputs) > 2 or len(outputs) != 1:
        raise ValueError(
            f"`{name}` must be a functional or Sequential Keras model with one input, or labels "
            f"as a second one, and one output; begin a Sequential with keras.Input(shape). "
            f"Received: {network!r}"
        )
    return model_class(_joined(inputs[0], inputs[1:]), outputs[0], name=name)


def _joined(x, labels):
    return (x, *labels) if labels else x
