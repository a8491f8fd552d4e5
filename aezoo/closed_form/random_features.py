"""A linear code and a decoder of random features, solved by ridge regression."""

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
from aezoo.closed_form.pca import pca_encoder, solve_encoder
from aezoo.inputs.annotations import AnyShape, NonNegative, Seed, Size
from aezoo.layers.clip import OutputActivation
from aezoo.layers.seeds import Seeds
from aezoo.models._registry import register
from aezoo.models._shared import Shared


@register
def random_feature_ae(
    input_shape: AnyShape = (),
    latent_dim: Size = 32,
    *,
    features: Size = 2000,
    regularization: NonNegative | None = None,
    output_activation: OutputActivation = "clip",
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> ClosedForm:
    """A PCA code with a nonlinear decoder: random ReLU features and ridge regression.

    Minimises the squared error of the decoder plus `regularization` times its squared weights; the
    code is that of PCA. One pass finds the components, and a second pass finds the decoder. The
    decoder sees the code as well as its random features, so that on the training data it is no
    worse than PCA of the same size.

    Args:
        input_shape: Shape of one sample, any rank; it is flattened inside.
        latent_dim: Size of the code.
        features: Number of random features. The second pass sums their products, a matrix
            of (features, features).
        regularization: Ridge strength in units of the features' mean variance; None
            chooses it by generalised cross-validation.
        output_activation: "clip" for pixels and other data in [0, 1], None for any other.
        seed: Integer that fixes the random features, or None.

    Returns:
        A compiled `ClosedForm`, codes (batch, latent_dim).

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.random_feature_ae((8, 8, 1), latent_dim=16, features=500, seed=0)
    >>> error = model.fit(aezoo.data.load("digits"), verbose=0).history["mse"][0]
    >>> error < 0.011  # that of PCA
    True

    Reference:
        Rahimi, Recht, 2008, "Weighted Sums of Random Kitchen Sinks",
        https://papers.nips.cc/paper/3495
    """
    seeds = Seeds(seed)
    encoder = pca_encoder(input_shape, latent_dim, seeds)
    shape = encoder.input_shape[1:]
    # `solve` scales the kernel to the data: each feature is then relu(a + b) with a of variance
    # about 1, and b spreads its bends over the data. benchmarks/closed_form.py tries others.
    start = {
        "kernel_initializer": keras.initializers.RandomNormal(stddev=1.0, seed=seeds()),
        "bias_initializer": keras.initializers.RandomNormal(stddev=0.5, seed=seeds()),
    }
    inputs = keras.Input((latent_dim,), name="code")
    x = layers.Dense(features, "relu", name="features", **start)(inputs)
    # With the code itself among the features, PCA is one of the solutions.
    x = layers.Concatenate(name="code_and_features")([inputs, x])
    start = keras.initializers.GlorotUniform(seed=seeds())
    x = layers.Dense(math.prod(shape), kernel_initializer=start, name="output")(x)
    decoder = keras.Model(inputs, reconstruction(x, shape, output_activation), name="decoder")
    return closed_form(
        encoder,
        decoder,
        RandomFeatures(regularization),
        **shared,
    )


@keras.saving.register_keras_serializable("aezoo")
@dataclasses.dataclass
class RandomFeatures(Solver):
    """Two passes: the components, then the decoder on the features of the code."""

    regularization: float | None = None

    def stages(self, model):
        decoder = model.decoder
        random, output = decoder.get_layer("features"), decoder.get_layer("output")

        def solve(moments):
            _, _, variances = solve_encoder(model, moments)
            kernel, bias = random.get_weights()
            # Divided by its own mean square as well, so that a second `fit` gives the same kernel.
            kernel /= np.sqrt(np.square(kernel).mean() * (variances.sum() or 1.0))
            random.set_weights([kernel, bias])

        yield Stage(make_network(*flat_input(model)), solve, plain=True)
        inputs, flat = flat_input(model)
        code = model.encoder(inputs)
        hidden = decoder.get_layer("code_and_features")([code, random(code)])
        yield Stage(
            make_network(inputs, hidden, flat),
            lambda moments: output.set_weights(ridge(moments, self.regularization)),
        )
