"""Sparse autoencoders: few units of the code are active for each sample."""

from __future__ import annotations

from typing import Annotated, Literal, Unpack

import keras
from annotated_types import Interval
from keras import layers, ops

from aezoo.inputs.annotations import (
    Activation,
    AnyShape,
    NonNegative,
    Number,
    Seed,
    Size,
    SizesOrEmpty,
)
from aezoo.layers.reporting import (
    add_batch_penalty,
    add_penalty,
    batch_mean,
    report,
    reporting,
)
from aezoo.layers.seeds import Seeds
from aezoo.model_classes.autoencoder import Autoencoder
from aezoo.models._build import autoencoder
from aezoo.models._registry import register
from aezoo.models._shared import Shared
from aezoo.models.dense import dense_decoder, dense_encoder

WEIGHTS = {"l1": 0.01, "kl": 0.1, "top_k": 0.0}
# The penalty is a mean over the units, so it is stronger for each of them if there are few.
WIDE = 256  # units of a code from which "l1" has its full weight


@register
def sparse_ae(
    input_shape: AnyShape = (),
    latent_dim: Size = 256,
    *,
    penalty: Literal["l1", "kl", "top_k"] = "l1",
    penalty_weight: NonNegative | None = None,
    rate: Annotated[Number, Interval(ge=1e-6, le=1 - 1e-6)] = 0.1,
    hidden_units: SizesOrEmpty = (512,),
    activation: Activation = "relu",
    output_activation: Activation = "sigmoid",
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> Autoencoder:
    """A fully connected autoencoder with a wide code of which little is used at a time.

    Minimises the mean squared error of the reconstruction and, depending on `penalty`,

    - "l1": `penalty_weight` times the mean absolute value of the code, the output of a ReLU;
    - "kl": `penalty_weight` times the mean, over the units, of the Kullback-Leibler divergence from
      `rate` to the unit's mean over the batch; the code is the output of a sigmoid;
    - "top_k": nothing more; of the linear code, all values but the largest `rate * latent_dim` are
      set to 0.

    History has `active`, the share of the code that is above 0 (above 0.5 for "kl").

    Args:
        input_shape: Shape of one sample, any rank; it is flattened inside.
        latent_dim: Size of the code.
        penalty: "l1", "kl" or "top_k".
        penalty_weight: Weight of the penalty. None means 0.1 for "kl", and for "l1" 0.01, or
            0.01 * latent_dim / 256 if the code is smaller than 256.
        rate: Target rate of "kl", or the share of the code that "top_k" keeps.
        hidden_units: Units of the encoder's hidden layers; the decoder mirrors them.
        activation: Keras activation of the hidden layers.
        output_activation: Keras activation of the reconstruction: "sigmoid" for pixels
            and other data in [0, 1], None for standardised columns.
        seed: Integer that fixes the initial weights, or None.

    Returns:
        A compiled `Autoencoder`, codes (batch, latent_dim).

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.sparse_ae((8, 8, 1), latent_dim=40, penalty="top_k", rate=0.1, seed=0)
    >>> codes = model.encode(aezoo.data.arrays("digits"))
    >>> int((codes != 0).sum(1).max())
    4

    Reference:
        Ng, 2011, "Sparse Autoencoder", https://web.stanford.edu/class/cs294a/; Makhzani,
        Frey, 2014, "k-Sparse Autoencoders", https://arxiv.org/abs/1312.5663
    """
    if penalty_weight is None:
        penalty_weight = WEIGHTS[penalty]
        if penalty == "l1":  # otherwise no unit of a small code would stay active
            penalty_weight *= min(1.0, latent_dim / WIDE)
    seeds = Seeds(seed)
    kind = {"l1": "relu", "kl": "sigmoid", "top_k": None}[penalty]
    dense = dense_encoder(input_shape, latent_dim, hidden_units, activation, kind, seeds)
    code = SparseCode(penalty, penalty_weight, rate, name="sparse_code")(dense.output)
    encoder = keras.Model(dense.input, code, name="encoder")
    decoder = dense_decoder(
        input_shape, latent_dim, hidden_units, activation, output_activation, seeds
    )
    return autoencoder(encoder, decoder, **shared)


@keras.saving.register_keras_serializable("aezoo")
class SparseCode(layers.Layer):
    """Makes a code (batch, units) sparse, and reports the share that is active."""

    def __init__(self, penalty, weight, rate, **kwargs):
        super().__init__(**kwargs)
        self.penalty, self.weight, self.rate = penalty, weight, rate
        self.active = keras.metrics.Mean(name="active")

    def call(self, code):
        if self.penalty == "top_k":
            kept = max(1, round(self.rate * code.shape[-1]))
            smallest = ops.top_k(code, kept)[0][:, -1:]
            # `where` gives a gradient only to the kept units, as in the paper.
            code = ops.where(code >= smallest, code, ops.zeros_like(code))
        if reporting():
            self._add_penalty(code)
        return code

    def _add_penalty(self, code):
        if self.penalty == "l1":
            add_penalty(self, ops.mean(ops.abs(code), -1), self.weight)
        elif self.penalty == "kl":
            # Over all replicas, because the divergence of a mean is not a mean of divergences.
            rate = ops.clip(batch_mean(code), 1e-6, 1 - 1e-6)
            divergence = self.rate * ops.log(self.rate / rate)
            divergence += (1 - self.rate) * ops.log((1 - self.rate) / (1 - rate))
            add_batch_penalty(self, self.weight * ops.mean(divergence))
        level = 0.5 if self.penalty == "kl" else 0.0
        report(self.active, ops.cast(code > level, "float32"))

    def get_config(self):
        config = {"penalty": self.penalty, "weight": self.weight, "rate": self.rate}
        return {**super().get_config(), **config}

    def compute_output_shape(self, input_shape):
        return input_shape
