"""Principal component analysis, the optimal linear autoencoder."""

from __future__ import annotations

import dataclasses
import math
from typing import Unpack

import keras
import numpy as np
from keras import layers

from aezoo.closed_form._linear_algebra import principal_components
from aezoo.closed_form._model import ClosedForm, closed_form
from aezoo.closed_form._stages import (
    Centre,
    Solver,
    Stage,
    flat_input,
    make_network,
    reconstruction,
)
from aezoo.inputs.annotations import AnyShape, Flag, Seed, Size
from aezoo.layers.clip import OutputActivation
from aezoo.layers.seeds import Seeds
from aezoo.models._registry import register
from aezoo.models._shared import Shared


@register
def pca_ae(
    input_shape: AnyShape = (),
    latent_dim: Size = 32,
    *,
    whiten: Flag = False,
    output_activation: OutputActivation = None,
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> ClosedForm:
    """Principal component analysis as an autoencoder: `fit` is one pass and one solution.

    Minimises the mean squared error over all codes of this size with a linear decoder; no
    training can find a better linear one. The error is the sum of the eigenvalues of the
    covariance that are left out, divided by the number of elements. Each component's
    largest entry is positive. Components beyond the rank of the data are 0.

    Args:
        input_shape: Shape of one sample, any rank; it is flattened inside.
        latent_dim: Size of the code.
        whiten: Whether every entry of the code has variance 1.
        output_activation: None, "clip" for pixels (cuts to [0, 1]), or a Keras
            activation.
        seed: Integer that fixes the weights before `fit`, or None.

    Returns:
        A compiled `ClosedForm`, codes (batch, latent_dim).

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.pca_ae((8, 8, 1), latent_dim=16)
    >>> history = model.fit(aezoo.data.load("digits"), verbose=0)
    >>> round(history.history["mse"][0], 3)
    0.011

    Reference:
        Bourlard, Kamp, 1988, "Auto-Association by Multilayer Perceptrons and Singular
        Value Decomposition", https://doi.org/10.1007/BF00332918
    """
    seeds = Seeds(seed)
    encoder = pca_encoder(input_shape, latent_dim, seeds)
    shape = encoder.input_shape[1:]
    inputs = keras.Input((latent_dim,), name="code")
    start = keras.initializers.GlorotUniform(seed=seeds())
    x = layers.Dense(math.prod(shape), kernel_initializer=start, name="output")(inputs)
    decoder = keras.Model(inputs, reconstruction(x, shape, output_activation), name="decoder")
    return closed_form(
        encoder,
        decoder,
        PrincipalComponents(whiten),
        **shared,
    )


def pca_encoder(input_shape, latent_dim, seeds):
    """The linear net from inputs to codes (batch, latent_dim)."""
    x = inputs = keras.Input(input_shape, name="input")
    if len(input_shape) > 1:
        x = layers.Flatten(name="flatten")(x)
    # Not a bias after the kernel: see `Centre`.
    x = Centre(name="centre")(x)
    start = keras.initializers.GlorotUniform(seed=seeds())
    code = layers.Dense(latent_dim, use_bias=False, kernel_initializer=start, name="code")(x)
    return keras.Model(inputs, code, name="encoder")


def solve_encoder(model, moments, whiten: bool = False):
    """Sets the weights of `pca_encoder`; returns mean, components and variances."""
    centre, code = (model.encoder.get_layer(name) for name in ("centre", "code"))
    mean, components, variances = principal_components(moments, code.units)
    # Missing components have variance 0 and stay 0, instead of becoming 0 / 0.
    scale = np.sqrt(np.where(variances > 0, variances, 1)) if whiten else 1
    centre.set_weights([mean])
    code.set_weights([components / scale])
    return mean, components, variances


@keras.saving.register_keras_serializable("aezoo")
@dataclasses.dataclass
class PrincipalComponents(Solver):
    """One pass: the covariance. The decoder is the encoder's transpose."""

    whiten: bool = False

    def stages(self, model):
        def solve(moments):
            mean, components, variances = solve_encoder(model, moments, self.whiten)
            # Whitening is undone by the decoder. Bourlard and Kamp: no linear decoder of a code of
            # this size has a lower error than these, the transposed leading eigenvectors.
            scale = np.sqrt(variances)[:, None] if self.whiten else 1
            model.decoder.get_layer("output").set_weights([scale * components.T, mean])

        yield Stage(make_network(*flat_input(model)), solve, plain=True)
