"""The extreme learning machine autoencoder: random layers, solved backwards."""

from __future__ import annotations

import dataclasses
import math
from typing import Unpack

import keras
import numpy as np
from keras import layers

from aezoo.closed_form._linear_algebra import ridge
from aezoo.closed_form._model import ClosedForm, closed_form
from aezoo.closed_form._stages import Solver, Stage, flat_input, make_network, reconstruction
from aezoo.inputs.annotations import Activation, AnyShape, NonNegative, Seed, Size, SizesOrEmpty
from aezoo.layers.clip import OutputActivation
from aezoo.layers.seeds import Seeds
from aezoo.models._registry import register
from aezoo.models._shared import Shared


@register
def elm_ae(
    input_shape: AnyShape = (),
    latent_dim: Size = 64,
    *,
    hidden_units: SizesOrEmpty = (),
    activation: Activation = "sigmoid",
    regularization: NonNegative | None = None,
    output_activation: OutputActivation = None,
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> ClosedForm:
    """A stack of extreme learning machine autoencoders, made for features.

    Minimises, layer by layer, the squared error of a ridge regression from a random
    orthogonal layer back to its input; the transpose of the solution is the layer's
    kernel. A last ridge regression decodes the code. The reconstruction is therefore linear
    in the code and cannot beat PCA of the same size.

    Args:
        input_shape: Shape of one sample, any rank; it is flattened inside.
        latent_dim: Size of the code.
        hidden_units: Units of the layers between input and code.
        activation: Keras activation of the random layers and of the hidden layers; the
            code is linear.
        regularization: Ridge strength in units of the features' mean variance; None
            chooses it by generalised cross-validation.
        output_activation: None, "clip" for pixels (cuts to [0, 1]), or a Keras
            activation.
        seed: Integer that fixes the random layers, or None.

    Returns:
        A compiled `ClosedForm`, codes (batch, latent_dim).

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.elm_ae((8, 8, 1), latent_dim=32, hidden_units=(128,), seed=0)
    >>> history = model.fit(aezoo.data.load("digits"), verbose=0)
    >>> model.encode(aezoo.data.arrays("digits")).shape
    (1437, 32)

    Reference:
        Kasun, Zhou, Huang, Vong, 2013, "Representational Learning with Extreme Learning
        Machine for Big Data", IEEE Intelligent Systems 28(6), 31-34
    """
    seeds = Seeds(seed)

    def dense(units, name, activation=None):
        start = keras.initializers.GlorotUniform(seed=seeds())
        return layers.Dense(units, activation, kernel_initializer=start, name=name)

    x = inputs = keras.Input(input_shape, name="input")
    if len(input_shape) > 1:
        x = layers.Flatten(name="flatten")(x)
    for i, units in enumerate(hidden_units):
        x = dense(units, f"hidden_{i}", activation)(x)
    encoder = keras.Model(inputs, dense(latent_dim, "code")(x), name="encoder")
    inputs = keras.Input((latent_dim,), name="code")
    x = dense(math.prod(input_shape), "output")(inputs)
    decoder = keras.Model(inputs, reconstruction(x, input_shape, output_activation), name="decoder")
    random_seed = seeds()
    # From Keras's global state, which `keras.utils.set_random_seed` fixes. It must be a number: the
    # solver is saved, `merge` compares it, and the index of a layer is added to it.
    if random_seed is None:
        random_seed = int(keras.random.randint((), 0, 2**31 - 1))
    return closed_form(
        encoder,
        decoder,
        ExtremeLearning(activation, regularization, random_seed),
        **shared,
    )


@keras.saving.register_keras_serializable("aezoo")
@dataclasses.dataclass
class ExtremeLearning(Solver):
    """One pass per layer, and one for the decoder."""

    activation: str | None
    regularization: float | None
    seed: int

    def stages(self, model):
        below = []
        names = [layer.name for layer in model.encoder.layers if hasattr(layer, "units")]
        for i, name in enumerate(names):
            layer = model.encoder.get_layer(name)
            inputs, x = flat_input(model)
            for done in below:
                x = done(x)
            random = random_layer(x.shape[1], layer.units, self.activation, self.seed + i)

            # `layer` is bound here: a closure would solve the last layer if all stages came first.
            def solve(moments, layer=layer):
                # The intercept belongs to the regression back to x, and has no place in x beta'.
                kernel, _ = ridge(moments, self.regularization)
                layer.set_weights([kernel.T, np.zeros(layer.units)])

            # Features are the outputs H of the random layer, targets its inputs X: ridge finds the
            # beta of H beta = X, and the layer itself is g(X beta') (Kasun et al.).
            yield Stage(make_network(inputs, random(x), x), solve)
            below.append(layer)
        inputs, flat = flat_input(model)
        output = model.decoder.get_layer("output")
        yield Stage(
            make_network(inputs, model.encoder(inputs), flat),
            lambda moments: output.set_weights(ridge(moments, self.regularization)),
        )


def random_layer(size: int, units: int, activation, seed: int):
    """A layer whose random kernel has orthogonal columns, or rows if there are fewer rows."""
    start = {
        "kernel_initializer": keras.initializers.Orthogonal(seed=seed),
        "bias_initializer": keras.initializers.RandomNormal(0.0, 1.0 / math.sqrt(units), seed=seed),
    }
    return layers.Dense(units, activation, **start)
