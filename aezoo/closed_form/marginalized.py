"""Denoising in closed form: the corruption is averaged over instead of drawn."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Literal, Unpack

import keras
import numpy as np
from keras import layers as keras_layers
from keras import ops

from aezoo.closed_form._linear_algebra import linear_map, ridge
from aezoo.closed_form._model import ClosedForm, closed_form
from aezoo.closed_form._stages import Solver, Stage, flat_input, make_network, reconstruction
from aezoo.inputs.annotations import AnyShape, Flag, NonNegative, Seed, Size
from aezoo.layers.clip import OutputActivation
from aezoo.layers.corruption import make_corruption
from aezoo.layers.seeds import Seeds, output_dtype
from aezoo.models._registry import register
from aezoo.models._shared import Shared


@register
def marginalized_ae(
    input_shape: AnyShape = (),
    corruption: Literal["masking", "gaussian"] = "masking",
    *,
    level: NonNegative = 0.25,
    clip: Flag = False,
    layers: Size = 1,
    output_activation: OutputActivation = "clip",
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> ClosedForm:
    """The marginalised denoising autoencoder: the best linear denoiser, in one pass.

    Minimises the mean squared error between the clean input and an affine map of its corrupted
    copy, averaged over all possible corruptions. These change only the mean and the second moments
    of the data, in a known way. With several layers, each layer is the map that denoises the layer
    below it, followed by tanh. The code is all layers concatenated, and a ridge regression on
    corrupted copies decodes it.

    Args:
        input_shape: Shape of one sample, any rank; it is flattened inside.
        corruption: "masking" or "gaussian".
        level: The share of values that masking sets to 0, or the standard deviation of
            gaussian noise in units of the data.
        clip: Whether gaussian noise is clipped to [0, 1] in the data; it is not clipped in deeper
            layers.
        layers: Number of layers. With one, the code is the denoised input itself.
        output_activation: "clip" for pixels and other data in [0, 1], None for any other.
        seed: Integer that fixes the weights before `fit` and the noise, or None.

    Returns:
        A compiled `ClosedForm`, codes (batch, layers * elements of the input).

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.marginalized_ae((8, 8, 1), level=0.5)
    >>> history = model.fit(aezoo.data.load("digits"), verbose=0)
    >>> model.corruption.level
    0.5

    Reference:
        Chen, Xu, Weinberger, Sha, 2012, "Marginalized Denoising Autoencoders for Domain
        Adaptation", https://arxiv.org/abs/1206.4683
    """
    seeds = Seeds(seed)
    noise = make_corruption(corruption, level, clip, seeds())
    size = math.prod(input_shape)

    def dense(name, activation=None):
        start = keras.initializers.GlorotUniform(seed=seeds())
        return keras_layers.Dense(size, activation, kernel_initializer=start, name=name)

    x = inputs = keras.Input(input_shape, name="input")
    if len(input_shape) > 1:
        x = keras_layers.Flatten(name="flatten")(x)
    # With one layer the code is the reconstruction, which `tanh` would distort.
    hidden = []
    for i in range(layers):
        x = dense(f"layer_{i}", "tanh" if layers > 1 else None)(x)
        hidden.append(x)
    code = x if layers == 1 else keras_layers.Concatenate(name="code")(hidden)
    encoder = keras.Model(inputs, code, name="encoder")
    x = inputs = keras.Input((layers * size,), name="code")
    if layers > 1:
        x = dense("output")(x)
    decoder = keras.Model(inputs, reconstruction(x, input_shape, output_activation), name="decoder")
    return closed_form(
        encoder,
        decoder,
        Marginalized(corruption, level, clip, layers),
        corruption=noise,
        **shared,
    )


@keras.saving.register_keras_serializable("aezoo")
@dataclasses.dataclass
class Marginalized(Solver):
    """One pass per layer, and one for the decoder where there are several layers."""

    corruption: str
    level: float
    clip: bool
    layers: int

    def stages(self, model):
        encoder = model.encoder
        # Drawn, only for the decoder: after tanh the average over corruptions is not known.
        noise = Drawn(make_corruption(self.corruption, self.level, self.clip, 0))
        for i in range(self.layers):
            inputs, below = flat_input(model)
            layer = encoder.get_layer(f"layer_{i}")
            # Each layer denoises the clean outputs of the one below, as in the paper.
            for j in range(i):
                below = encoder.get_layer(f"layer_{j}")(below)
            # The outputs of tanh are between -1 and 1, so noise on them is not clipped to [0, 1].
            if self.clip and self.corruption == "gaussian" and i == 0:
                outputs = ClippedNoise(self.level)(below)
                solve = clipped_map
            else:
                outputs = [below]
                solve = functools.partial(exact_map, corruption=self.corruption, level=self.level)
            yield Stage(
                make_network(inputs, *outputs),
                lambda moments, layer=layer, solve=solve: layer.set_weights(solve(moments)),
            )
        if self.layers > 1:
            inputs, flat = flat_input(model)
            output = model.decoder.get_layer("output")
            yield Stage(
                make_network(inputs, encoder(noise(inputs)), flat),
                lambda moments: output.set_weights(ridge(moments)),
            )


class Drawn(keras_layers.Layer):
    """Corrupts also outside training, for the passes over corrupted copies."""

    def __init__(self, corruption):
        super().__init__()
        self.corruption = corruption
        # Keras would warn that the corruption inside is not built, as `corrupt` is called directly.
        self.built = True

    def call(self, inputs):
        return self.corruption.corrupt(inputs)

    def compute_output_shape(self, input_shape):
        return input_shape


class ClippedNoise(keras_layers.Layer):
    """The mean of clip(x + noise); its targets are x and the variance of clip(x + noise)."""

    def __init__(self, level):
        super().__init__(dtype=output_dtype())
        self.level = level

    def call(self, x):
        # Level 0 would divide by 0.
        sigma = max(self.level, 1e-6)
        # y = x + sigma n, cut to [0, 1], is a censored gaussian: the integrals of y and y^2 over
        # low < n < high have closed forms, and the part above counts as 1.
        low, high = -x / sigma, (1 - x) / sigma
        inside = _cumulative(high) - _cumulative(low)
        above = 1 - _cumulative(high)
        mean = x * inside + sigma * (_density(low) - _density(high)) + above
        square = (x**2 + sigma**2) * inside + above
        square += sigma * (x * _density(low) - (x + 1) * _density(high))
        return [mean, ops.concatenate([x, square - mean**2], 1)]

    def compute_output_spec(self, x):
        batch, size = x.shape
        return [keras.KerasTensor((batch, n), x.dtype) for n in (size, 2 * size)]


def _density(x):
    return ops.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _cumulative(x):
    return (1 + ops.erf(x / math.sqrt(2))) / 2


def exact_map(moments, corruption: str, level: float):
    """Kernel and bias that denoise best, averaged over all corruptions.

    Masking with probability p scales the mean by q = 1 - p and has the covariance
    q^2 C + q p diag(E[x^2]); gaussian noise adds level^2 to the variances.
    """
    # Masking changes each entry of the diagonal by a different amount, so there is no dual form.
    moments = moments.many()
    mean, covariance = moments.feature_mean, moments.products / moments.samples
    if corruption == "masking":
        # E[P] and E[Q] of the paper, about the mean instead of with a bias entry of 1 in x.
        q = 1 - level
        # The variance of m x, with m 1 at probability q, else 0: q E[x^2] - q^2 E[x]^2.
        squares = np.diag(covariance) + mean**2
        kernel = linear_map(q * q * covariance + np.diag(q * level * squares), q * covariance)
        return kernel, mean - q * mean @ kernel
    kernel = linear_map(covariance + level**2 * np.eye(len(mean)), covariance)
    return kernel, mean - mean @ kernel


def clipped_map(moments):
    """As `exact_map`, for clipped gaussian noise, from the sums of `ClippedNoise`."""
    moments = moments.many()
    clean, variance = np.split(moments.target_mean, 2)
    # The law of total variance: noise is independent in each element, so its mean variance is added
    # to the diagonal only. The first targets are x, whose products with E[y | x] are the rest.
    covariance = moments.products / moments.samples + np.diag(variance)
    kernel = linear_map(covariance, moments.cross[:, : moments.features] / moments.samples)
    return kernel, clean - moments.feature_mean @ kernel
