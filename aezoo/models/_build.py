"""Compiled models from networks: `autoencoder` from two, `reconstruction_model` from one."""

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
    """Makes a compiled `Autoencoder` from two Keras models.

    Args:
        encoder: Functional or Sequential model from inputs (batch, *input_shape) to
            codes.
        decoder: Functional or Sequential model from codes to (batch, *input_shape).
        corruption: Layer between input and encoder, active in training only, or None.
        optimizer: Name of a Keras optimizer, or an optimizer, which is copied.
        loss: Any Keras loss of (clean input, reconstruction); None is "mse".
        learning_rate: None means `usual_learning_rate` for an optimizer given by name, and
            otherwise the optimizer's own rate.
        usual_learning_rate: See `learning_rate`; None means Keras's default for that optimizer.
        weights: None, or the path of a `.weights.h5` or `.keras` file.
        jit_compile: True, False, or "auto", which chooses when `fit` knows the data.
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
    """A compiled `ReconstructionModel` from one network that maps inputs to reconstructions.

    It does what `autoencoder` does with an encoder and a decoder, and takes the same options.
    """
    inputs, x = _corrupted_input(network.input_shape[1:], corruption)
    return _compiled(ReconstructionModel(inputs, network(x), name=name), **options)


def _corrupted_input(shape, corruption):
    """The input of a model, and what its network sees of it."""
    x = inputs = keras.Input(shape, name="input")
    if corruption is None:
        return inputs, x
    if not isinstance(corruption, keras.layers.Layer):
        raise ValueError(f"`corruption` must be a Keras layer or None. Received: {corruption!r}")
    # A copy, because models that share a layer would also share its noise. It is named, because
    # `model.corruption` is found by its name.
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
    # An optimizer object has a learning rate of its own, which the user chose.
    if learning_rate is None and isinstance(optimizer, str):
        learning_rate = usual_learning_rate
    loss = "mse" if loss is None else loss
    check_loss(loss)
    if check_flag("compile", compile):
        # Keras passes the weights of `compute_metrics` only to `weighted_metrics`.
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
    # A new model with the same layers: `model.encoder`, the scaling of pixels and files rely on its
    # name and its class, which a Sequential made by a user does not have.
    return model_class(_joined(inputs[0], inputs[1:]), outputs[0], name=name)


def _joined(x, labels):
    return (x, *labels) if labels else x
