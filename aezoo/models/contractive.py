"""Contractive autoencoders: codes that change little where the input changes little."""

from __future__ import annotations

from typing import Literal, Unpack

import keras
from keras import layers, ops

from aezoo.inputs.annotations import Activation, AnyShape, NonNegative, Seed, Size, SizesOrEmpty
from aezoo.layers._draws import EvaluationDraws
from aezoo.layers.reporting import add_penalty, report, reporting
from aezoo.layers.seeds import Seeds
from aezoo.model_classes.autoencoder import Autoencoder
from aezoo.models._build import autoencoder
from aezoo.models._registry import register
from aezoo.models._shared import Shared
from aezoo.models.dense import dense_decoder

SLOPES = {  # the derivative of each activation, from its output
    "sigmoid": lambda h: h * (1 - h),
    "tanh": lambda h: 1 - h * h,
    "relu": lambda h: ops.cast(h > 0, h.dtype),
    "linear": ops.ones_like,
}


@register
def contractive_ae(
    input_shape: AnyShape = (),
    latent_dim: Size = 128,
    *,
    penalty_weight: NonNegative = 0.1,
    hidden_units: SizesOrEmpty = (),
    activation: Literal["sigmoid", "tanh", "relu", "linear"] = "sigmoid",
    output_activation: Activation = "sigmoid",
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> Autoencoder:
    """A fully connected autoencoder whose code resists small changes of the input.

    Minimises the mean squared error of the reconstruction plus `penalty_weight` times the
    squared Frobenius norm of the encoder's Jacobian. Like the error, the norm is divided by the
    number of elements of the input. With one layer it has a closed form. With `hidden_units` it is
    estimated without bias from one random direction per sample (Hutchinson), which is fixed in
    evaluation. History has `contraction`, the mean squared norm, and `relative_contraction`, the
    same divided by the variance of the code. The decoder is not tied to the encoder, so that a code
    of smaller scale lowers the first and not the second.

    Args:
        input_shape: Shape of one sample, any rank; it is flattened inside.
        latent_dim: Size of the code.
        penalty_weight: Weight of the squared norm of the Jacobian.
        hidden_units: Units of the encoder's hidden layers; the decoder mirrors them.
        activation: "sigmoid", "tanh", "relu" or "linear", of the hidden layers and the code.
        output_activation: Keras activation of the reconstruction: "sigmoid" for pixels
            and other data in [0, 1], None for standardised columns.
        seed: Integer that fixes initial weights and random directions, or None.

    Returns:
        A compiled `Autoencoder`, codes (batch, latent_dim).

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.contractive_ae((8, 8, 1), latent_dim=16, seed=0)
    >>> history = model.fit(aezoo.data.load("digits"), epochs=2, verbose=0).history
    >>> history["loss"][1] > history["mse"][1]  # by the penalty
    True

    Reference:
        Rifai, Vincent, Muller, Glorot, Bengio, 2011, "Contractive Auto-Encoders: Explicit
        Invariance During Feature Extraction", https://icml.cc/2011/papers/455_icmlpaper.pdf
    """
    seeds = Seeds(seed)
    x = inputs = keras.Input(input_shape, name="input")
    if len(input_shape) > 1:
        x = layers.Flatten(name="flatten")(x)
    units = (*hidden_units, latent_dim)
    starts = [seeds() for _ in units]
    code = ContractiveLayers(
        units, activation, penalty_weight, starts, seeds(), name="contractive_layers"
    )(x)
    encoder = keras.Model(inputs, code, name="encoder")
    decoder = dense_decoder(
        input_shape, latent_dim, hidden_units, activation, output_activation, seeds
    )
    return autoencoder(encoder, decoder, usual_learning_rate=0.01, **shared)


@keras.saving.register_keras_serializable("aezoo")
class RelativeContraction(keras.metrics.Metric):
    """The mean squared norm of the Jacobian divided by the variance of the code, summed over units.

    Args:
        units: Size of the code.

    Example:

    >>> metric, codes = RelativeContraction(2), np.array([[0.0, 1.0], [2.0, 1.0]], "float32")
    >>> for scale in (1.0, 10.0):
    ...     metric.reset_state()
    ...     metric.update_state(np.full(2, 3 * scale**2, "float32"), scale * codes)
    ...     print(float(metric.result()))
    3.0
    3.0
    """

    def __init__(self, units: int, name="relative_contraction", **kwargs):
        super().__init__(name=name, **kwargs)
        self.units = units
        self.count = self.add_weight(name="count", initializer="zeros")
        self.norms = self.add_weight(name="norms", initializer="zeros")
        self.sums = self.add_weight(name="sums", shape=(units,), initializer="zeros")
        self.squares = self.add_weight(name="squares", shape=(units,), initializer="zeros")

    def update_state(self, squared_norms, codes, sample_weight=None):
        """Adds squared norms (batch,) and codes (batch, units)."""
        codes = ops.cast(codes, self.dtype)
        self.count.assign_add(ops.cast(ops.shape(codes)[0], self.dtype))
        self.norms.assign_add(ops.sum(ops.cast(squared_norms, self.dtype)))
        self.sums.assign_add(ops.sum(codes, 0))
        self.squares.assign_add(ops.sum(codes * codes, 0))

    def result(self):
        count = ops.maximum(self.count, 1.0)
        variance = ops.sum(self.squares / count - ops.square(self.sums / count))
        return self.norms / count / ops.maximum(variance, 1e-12)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("aezoo")
class ContractiveLayers(layers.Layer):
    """Dense layers that add the squared norm of their Jacobian to the loss.

    The derivative along a direction goes through the layers together with the values. With one
    layer, the norm is sum_j slope_j^2 sum_i kernel_ij^2.
    """

    def __init__(self, units, activation, penalty_weight, starts=None, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.activation = tuple(units), activation
        self.penalty_weight, self.starts, self.seed = penalty_weight, starts, seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.dense = [
            layers.Dense(
                size,
                activation,
                kernel_initializer=keras.initializers.GlorotUniform(start),
                dtype=self.dtype_policy,
                name=f"dense_{i}",
            )
            for i, (size, start) in enumerate(
                zip(self.units, starts or [None] * len(self.units), strict=True)
            )
        ]
        self.evaluation = EvaluationDraws()
        self.contraction = keras.metrics.Mean(name="contraction")
        self.relative = RelativeContraction(self.units[-1])

    def build(self, input_shape):
        for layer in self.dense:
            layer.build(input_shape)
            input_shape = layer.compute_output_shape(input_shape)

    def call(self, x, training=None):
        if not reporting():
            for layer in self.dense:
                x = layer(x)
            return x
        size, slope = x.shape[-1], SLOPES[self.activation]
        if len(self.dense) == 1:
            (layer,) = self.dense
            code = layer(x)
            # Row j of the Jacobian is slope_j times column j of the kernel.
            norms = ops.sum(ops.square(layer.kernel), 0)
            squares = ops.sum(ops.square(slope(code)) * norms, -1)
        else:
            shape = ops.shape(x)
            if training:
                direction = keras.random.normal(shape, dtype=x.dtype, seed=self.seed_generator)
            else:
                direction = ops.cast(self.evaluation.normal(shape[0], size), x.dtype)
            # For r from N(0, I) the expectation of |J r|^2 is the squared norm of J. This costs one
            # more pass, and not one per unit of the code.
            code = x
            for layer in self.dense:
                code = layer(code)
                direction = ops.matmul(direction, layer.kernel) * slope(code)
            squares = ops.sum(ops.square(direction), -1)
        add_penalty(self, squares, self.penalty_weight / size)
        report(self.contraction, squares)
        report(self.relative, squares, code)
        return code

    def get_config(self):
        config = {"units": self.units, "activation": self.activation, "seed": self.seed}
        config |= {"penalty_weight": self.penalty_weight, "starts": self.starts}
        return {**super().get_config(), **config}

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units[-1])
