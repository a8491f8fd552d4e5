"""Classifiers and regressors on a copy of an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers

from aezoo.inputs.arguments import (
    check_flag,
    check_number,
    check_positive_integer,
    check_positive_integers,
    nearest,
)
from aezoo.layers.patches import MaskPatches
from aezoo.layers.quantizer import VectorQuantizer
from aezoo.layers.sampling import Sampling
from aezoo.layers.seeds import Seeds
from aezoo.model_classes.compiling import new_optimizer
from aezoo.model_classes.pixel_model import PixelModel
from aezoo.model_classes.pooling import encoder_of, pool

DRAWING = (Sampling, MaskPatches, VectorQuantizer)


def classifier(
    model,
    num_classes: int,
    *,
    freeze: bool = True,
    hidden_units: tuple[int, ...] = (),
    pooling: str | None = None,
    dropout: float = 0.0,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: float | None = None,
    seed: int | None = None,
    name: str = "classifier",
) -> EncoderWithHead:
    """A compiled classifier on a copy of an encoder.

    Minimises the cross-entropy of the class. The model that it is made of is neither
    frozen nor changed.

    Args:
        model: An `Autoencoder`, an encoder, or any Keras model with one input.
        num_classes: Number of classes; labels are integers from 0.
        freeze: Whether the encoder stays as it is; `unfreeze` lets it learn later.
        hidden_units: Sizes of hidden ReLU layers between code and classes.
        pooling: As in `features`.
        dropout: Share of the head's inputs that are dropped in training.
        optimizer: Name of a Keras optimizer, or one, which is copied.
        learning_rate: None is the optimizer's own.
        seed: Integer that fixes the head's initial weights, or None.
        name: Name of the model.

    Returns:
        A compiled Keras model from inputs, pixels by the pixel rule, to probabilities
        (batch, num_classes), with the metric `accuracy`.

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.conv_ae((8, 8, 1), latent_dim=16, seed=0)
    >>> classifier = aezoo.transfer.classifier(model, 10, seed=0)
    >>> x, y = aezoo.data.arrays("digits", labels=True)
    >>> history = classifier.fit(x, y, verbose=0)
    >>> classifier.predict(x[:3], verbose=0).shape
    (3, 10)
    """
    if check_positive_integer("num_classes", num_classes) < 2:
        raise ValueError(f"`num_classes` must be at least 2. Received: {num_classes!r}")
    network = _with_head(
        model, num_classes, "softmax", freeze, hidden_units, pooling, dropout, seed, name
    )
    network.compile(
        optimizer=new_optimizer(optimizer, learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return network


def regressor(
    model,
    num_outputs: int = 1,
    *,
    freeze: bool = True,
    hidden_units: tuple[int, ...] = (),
    pooling: str | None = None,
    dropout: float = 0.0,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: float | None = None,
    seed: int | None = None,
    name: str = "regressor",
) -> EncoderWithHead:
    """A compiled regressor on a copy of an encoder.

    Minimises the mean squared error of the outputs.

    Args:
        model: As in `classifier`, and so are the other arguments.
        num_outputs: Numbers to predict for each sample.
        freeze: As in `classifier`.
        hidden_units: As in `classifier`.
        pooling: As in `features`.
        dropout: As in `classifier`.
        optimizer: As in `classifier`.
        learning_rate: As in `classifier`.
        seed: As in `classifier`.
        name: Name of the model.

    Returns:
        A compiled Keras model from inputs to (batch, num_outputs), with the metric `mae`.

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.dense_ae((8, 8, 1), latent_dim=16, seed=0)
    >>> regressor = aezoo.transfer.regressor(model, hidden_units=(32,), seed=0)
    >>> x, y = aezoo.data.arrays("digits", labels=True)
    >>> history = regressor.fit(x, y, verbose=0)
    >>> regressor.predict(x[:3], verbose=0).shape
    (3, 1)
    """
    check_positive_integer("num_outputs", num_outputs)
    network = _with_head(
        model, num_outputs, None, freeze, hidden_units, pooling, dropout, seed, name
    )
    network.compile(optimizer=new_optimizer(optimizer, learning_rate), loss="mse", metrics=["mae"])
    return network


def unfreeze(
    model,
    layers: int | Sequence[str] | None = None,
    *,
    learning_rate: float = 1e-4,
    batch_normalization: bool = False,
):
    """Lets the encoder of a classifier or regressor learn, at a lower learning rate.

    The optimizer begins anew.

    Args:
        model: What `classifier` or `regressor` returned.
        layers: None for the whole encoder, the number of its last layers with weights, or
            the names of some; the others are frozen.
        learning_rate: Of the training that follows.
        batch_normalization: Whether batch normalisations learn too. They stay as they are
            otherwise, with the mean and the variance of the data that the encoder was
            trained on, which is safer where there are few samples.

    Returns:
        `model`, compiled anew.

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.dense_ae((8, 8, 1), 16, hidden_units=(64, 32), seed=0)
    >>> classifier = aezoo.transfer.classifier(model, 10)
    >>> before = len(classifier.trainable_weights)
    >>> len(aezoo.transfer.unfreeze(classifier, 1).trainable_weights) - before
    2
    """
    check_number("learning_rate", learning_rate, 0)
    check_flag("batch_normalization", batch_normalization)
    if not isinstance(model, EncoderWithHead) or not model.compiled:
        raise ValueError(
            "`model` must be a compiled classifier or regressor of aezoo.transfer. "
            f"Received: {model!r}"
        )
    encoder = model.get_layer("encoder")
    chosen = _chosen([layer for layer in encoder.layers if layer.weights], layers)
    if not batch_normalization:
        chosen -= {
            layer.name
            for layer in encoder.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        }
    _set_trainable(encoder, chosen)
    config = model.get_compile_config()
    optimizer = new_optimizer(model.optimizer, float(learning_rate))
    config["optimizer"] = keras.saving.serialize_keras_object(optimizer)
    model.compile_from_config(config)
    return model


def _chosen(available, wanted) -> set[str]:
    """Names of layers, of all, of the last so many, or of those that are named."""
    names = [layer.name for layer in available]
    if wanted is None:
        return set(names)
    if not isinstance(wanted, str) and isinstance(wanted, Sequence):
        for name in wanted:
            if name not in names:
                raise ValueError(
                    f"`layers` must be names of layers with weights: {', '.join(names)}"
                    f"{nearest(name, names)}. Received: {name!r}"
                )
        return set(wanted)
    return set(names[-check_positive_integer("layers", wanted) :])


@keras.saving.register_keras_serializable("aezoo")
class EncoderWithHead(PixelModel):
    """A classifier or regressor on an encoder, which is trained for its own targets alone.

    Penalties and metrics of the encoder belong to the autoencoder that it came from.
    """

    @property
    def losses(self):
        return []

    @property
    def metrics(self):
        theirs = {id(metric) for metric in self.get_layer("encoder").metrics}
        return [metric for metric in super().metrics if id(metric) not in theirs]


def _with_head(model, outputs, activation, freeze, hidden_units, pooling, dropout, seed, name):
    """Inputs, a copy of the encoder, pooling, hidden layers, outputs."""
    hidden_units = check_positive_integers("hidden_units", hidden_units, allow_empty=True)
    check_number("dropout", dropout, 0, 0.999)
    check_flag("freeze", freeze)
    seeds, source = Seeds(seed), encoder_of(model)
    encoder = copied(source)
    encoder.set_weights(source.get_weights())
    _set_trainable(encoder, () if freeze else [layer.name for layer in encoder.layers])
    inputs = keras.Input(encoder.inputs[0].shape[1:], name="input")
    x = pool(encoder(inputs), pooling)
    for i, units in enumerate(hidden_units):
        x = layers.Dense(units, "relu", name=f"hidden_{i}", **_start(seeds))(x)
    if dropout:
        x = layers.Dropout(dropout, seed=seeds(), name="dropout")(x)
    x = layers.Dense(outputs, activation, dtype="float32", name="output", **_start(seeds))(x)
    return EncoderWithHead(inputs, x, name=name)


def _set_trainable(encoder, names) -> None:
    """Layers that draw, in the training of an autoencoder, stay frozen, and so do not draw."""
    encoder.trainable = bool(names)
    for layer in encoder.layers:
        layer.trainable = layer.name in names and not isinstance(layer, DRAWING)


def copied(encoder, seeds: Seeds | None = None) -> PixelModel:
    """The same net with initial weights of its own: of `seeds`, or of the encoder's seeds."""

    def clone(layer):
        config = layer.get_config()
        return type(layer).from_config(config if seeds is None else _reseeded(config, seeds))

    copy = keras.models.clone_model(encoder, clone_function=clone)
    return PixelModel(copy.inputs[0], copy.outputs[0], name="encoder")


def _reseeded(config, seeds):
    """A layer's configuration with another integer wherever it holds a seed, or `seeds`."""
    if isinstance(config, dict):
        found = {key: _reseeded(value, seeds) for key, value in config.items()}
        if "seed" in config:
            found["seed"] = seeds()
        if "seeds" in config:
            found["seeds"] = [seeds() for _ in config["seeds"]]
        return found
    if isinstance(config, list):
        return [_reseeded(value, seeds) for value in config]
    return config


def _start(seeds):
    return {"kernel_initializer": keras.initializers.GlorotUniform(seed=seeds())}
