"""Classifiers and regressors on a copy of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import keras
from annotated_types import Ge, Interval
from keras import layers

from aezoo.inputs.annotations import (
    Flag,
    NonNegative,
    Number,
    Seed,
    Size,
    SizesOrEmpty,
    checked,
)
from aezoo.inputs.arguments import check_positive_integer, nearest
from aezoo.layers.patches import MaskPatches
from aezoo.layers.quantizer import VectorQuantizer
from aezoo.layers.sampling import Sampling
from aezoo.layers.seeds import Seeds
from aezoo.model_classes.compiling import new_optimizer
from aezoo.model_classes.pixel_model import PixelModel
from aezoo.model_classes.pooling import Pooling, encoder_of, pool

Dropout = Annotated[Number, Interval(ge=0, le=0.999)]
# Layers that draw in training, and do not where `trainable` is False.
DRAWING = (Sampling, MaskPatches, VectorQuantizer)


@checked
def classifier(
    model,
    num_classes: Annotated[Size, Ge(2), "an integer of at least 2"],
    *,
    freeze: Flag = True,
    hidden_units: SizesOrEmpty = (),
    pooling: Pooling = None,
    dropout: Dropout = 0.0,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: NonNegative | None = None,
    seed: Seed = None,
    name: str = "classifier",
) -> EncoderWithHead:
    """A compiled classifier on a copy of an encoder.

    Minimises the cross-entropy of the class. The original model is neither frozen nor
    changed.

    Args:
        model: An `Autoencoder`, an encoder, or any Keras model with one input.
        num_classes: Number of classes; labels are integers from 0.
        freeze: Whether the encoder stays as it is; `unfreeze` lets it learn later.
        hidden_units: Sizes of hidden ReLU layers between code and classes.
        pooling: As in `features`.
        dropout: Share of the inputs of the output layer that are dropped in training.
        optimizer: Name of a Keras optimizer, or an optimizer, which is copied.
        learning_rate: None is the optimizer's own.
        seed: Integer that fixes the head's initial weights, or None.
        name: Name of the model.

    Returns:
        A compiled Keras model from inputs (uint8 and uint16 pixels are scaled) to probabilities
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
    network = _with_head(
        model, num_classes, "softmax", freeze, hidden_units, pooling, dropout, seed, name
    )
    # Compiled by `keras.Model`: targets are classes here, and an `Autoencoder` would refuse them.
    network.compile(
        optimizer=new_optimizer(optimizer, learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return network


@checked
def regressor(
    model,
    num_outputs: Size = 1,
    *,
    freeze: Flag = True,
    hidden_units: SizesOrEmpty = (),
    pooling: Pooling = None,
    dropout: Dropout = 0.0,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    learning_rate: NonNegative | None = None,
    seed: Seed = None,
    name: str = "regressor",
) -> EncoderWithHead:
    """A compiled regressor on a copy of an encoder.

    Minimises the mean squared error of the outputs.

    Args:
        model: As in `classifier`, and so are the other arguments.
        num_outputs: How many values to predict per sample.
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
    network = _with_head(
        model, num_outputs, None, freeze, hidden_units, pooling, dropout, seed, name
    )
    network.compile(optimizer=new_optimizer(optimizer, learning_rate), loss="mse", metrics=["mae"])
    return network


@checked
def unfreeze(
    model,
    layers: int | Sequence[str] | None = None,
    *,
    learning_rate: NonNegative = 1e-4,
    batch_normalization: Flag = False,
):
    """Lets the encoder of a classifier or regressor learn, at a lower learning rate.

    The optimizer starts anew, without its moments and step count.

    Args:
        model: What `classifier` or `regressor` returned.
        layers: None for the whole encoder, the number of its last layers with weights, or
            the names of some; the others are frozen.
        learning_rate: Of the training that follows.
        batch_normalization: Whether batch normalisation layers learn too. Otherwise they stay as
            they are, with the mean and the variance of the data that the encoder was trained on,
            which is safer where there are few samples.

    Returns:
        `model`, compiled again.

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.dense_ae((8, 8, 1), 16, hidden_units=(64, 32), seed=0)
    >>> classifier = aezoo.transfer.classifier(model, 10)
    >>> before = len(classifier.trainable_weights)
    >>> len(aezoo.transfer.unfreeze(classifier, 1).trainable_weights) - before
    2
    """
    if not isinstance(model, EncoderWithHead) or not model.compiled:
        raise ValueError(
            "`model` must be a compiled classifier or regressor of aezoo.transfer. "
            f"Received: {model!r}"
        )
    encoder = model.get_layer("encoder")
    chosen = _chosen([layer for layer in encoder.layers if layer.weights], layers)
    # Keras runs a batch normalisation with `trainable = False` on its moving averages.
    if not batch_normalization:
        chosen -= {
            layer.name
            for layer in encoder.layers
            if isinstance(layer, keras.layers.BatchNormalization)
        }
    _set_trainable(encoder, chosen)
    # A fitted model would go on training what it was compiled for, without a warning. Its own
    # config keeps loss and metrics as the user has them.
    config = model.get_compile_config()
    optimizer = new_optimizer(model.optimizer, float(learning_rate))
    config["optimizer"] = keras.saving.serialize_keras_object(optimizer)
    model.compile_from_config(config)
    return model


def _chosen(available, wanted) -> set[str]:
    """The names of all layers, of the last `wanted` of them, or those in `wanted`."""
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
    """A classifier or regressor on an encoder, trained for its own targets alone.

    Penalties and metrics of the encoder belong to the autoencoder that it came from.
    """

    @property
    def losses(self):
        # Keras would add the KL, the commitment and other penalties of the encoder to the loss.
        return []

    @property
    def metrics(self):
        theirs = {id(metric) for metric in self.get_layer("encoder").metrics}
        return [metric for metric in super().metrics if id(metric) not in theirs]


def _with_head(model, outputs, activation, freeze, hidden_units, pooling, dropout, seed, name):
    """Inputs, a copy of the encoder, pooling, hidden layers, outputs."""
    seeds, source = Seeds(seed), encoder_of(model)
    # A copy, as `trainable` and training itself would change the layers of the source as well.
    encoder = copied(source)
    encoder.set_weights(source.get_weights())
    _set_trainable(encoder, () if freeze else [layer.name for layer in encoder.layers])
    inputs = keras.Input(encoder.inputs[0].shape[1:], name="input")
    x = pool(encoder(inputs), pooling)
    for i, units in enumerate(hidden_units):
        x = layers.Dense(units, "relu", name=f"hidden_{i}", **_start(seeds))(x)
    if dropout:
        x = layers.Dropout(dropout, seed=seeds(), name="dropout")(x)
    # Probabilities in float32 under a mixed policy too.
    x = layers.Dense(outputs, activation, dtype="float32", name="output", **_start(seeds))(x)
    return EncoderWithHead(inputs, x, name=name)


def _set_trainable(encoder, names) -> None:
    """Makes the layers of these names trainable, but for those that draw."""
    # First the encoder, as it passes its own `trainable` on to all of its layers.
    encoder.trainable = bool(names)
    for layer in encoder.layers:
        # Frozen they do not draw: a classifier learns from the codes that it will be used on.
        layer.trainable = layer.name in names and not isinstance(layer, DRAWING)


def copied(encoder, seeds: Seeds | None = None) -> PixelModel:
    """The same net with its own initial weights, from `seeds` or from the encoder's seeds."""

    def clone(layer):
        config = layer.get_config()
        return type(layer).from_config(config if seeds is None else _reseeded(config, seeds))

    copy = keras.models.clone_model(encoder, clone_function=clone)
    # The name that `unfreeze` looks for, whatever the source is called.
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
