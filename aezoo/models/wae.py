"""Wasserstein autoencoders: all codes together follow the prior."""

from __future__ import annotations

from typing import Unpack

import keras

from aezoo.inputs.annotations import (
    Activation,
    AnyShape,
    Architecture,
    NonNegative,
    Seed,
    Size,
    Sizes,
    SizesOrEmpty,
)
from aezoo.layers.sampling import MaximumMeanDiscrepancy
from aezoo.layers.seeds import Seeds
from aezoo.losses import SummedLoss
from aezoo.model_classes.compiling import check_loss
from aezoo.model_classes.generative import GenerativeAutoencoder
from aezoo.models._build import autoencoder
from aezoo.models._networks import Networks
from aezoo.models._registry import register
from aezoo.models._shared import Loss, Shared


@register
def wae(
    input_shape: AnyShape = (),
    latent_dim: Size = 8,
    *,
    architecture: Architecture = "dense",
    hidden_units: SizesOrEmpty = (512, 256),
    filters: Sizes = (32, 64),
    activation: Activation = "silu",
    mmd_weight: NonNegative = 10.0,
    output_activation: Activation = "sigmoid",
    loss: Loss = None,
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> GenerativeAutoencoder:
    """A Wasserstein autoencoder with a maximum mean discrepancy (WAE-MMD).

    Minimises the squared error, summed over the elements of a sample, plus `mmd_weight` times
    the maximum mean discrepancy of a batch of codes from the standard normal prior. The
    encoder is deterministic. History has `mmd`, the discrepancy.

    Args:
        input_shape: Shape of one sample, any rank for "dense".
        latent_dim: Size of the code.
        architecture: "dense", or "conv" for images and series.
        hidden_units: For "dense": units of the encoder's hidden layers; the decoder mirrors
            them.
        filters: For "conv": channels of the stages; each stage halves the size.
        activation: Keras activation of the hidden layers.
        mmd_weight: Weight of the discrepancy.
        output_activation: Keras activation of the reconstruction: "sigmoid" for data in
            [0, 1], None for standardised columns.
        loss: Keras loss of (clean input, reconstruction), summed over the elements; None is
            "mse".
        seed: Integer that fixes initial weights and draws, or None.

    Returns:
        A compiled `GenerativeAutoencoder`, codes (batch, latent_dim).

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.wae((8, 8, 1), latent_dim=4, seed=0)
    >>> sorted(model.fit(aezoo.data.load("digits"), verbose=0).history)
    ['loss', 'mmd', 'mse']

    Reference:
        Tolstikhin, Bousquet, Gelly, Schoelkopf, 2018, "Wasserstein Auto-Encoders",
        https://arxiv.org/abs/1711.01558
    """
    check_loss(loss or "mse")
    nets = Networks(
        architecture, input_shape, hidden_units, filters, activation, output_activation, Seeds(seed)
    )
    net = nets.encoder(latent_dim)
    code = MaximumMeanDiscrepancy(mmd_weight, seed=nets.seeds(), name="mmd")(net.output)
    return autoencoder(
        keras.Model(net.input, code, name="encoder"),
        nets.decoder(latent_dim),
        model_class=GenerativeAutoencoder,
        # Summed as in the paper, whose weight of 10 was found for such a sum.
        loss=SummedLoss(loss or "mse"),
        **shared,
    )
