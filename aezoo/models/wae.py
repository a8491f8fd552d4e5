"""Wasserstein autoencoders: all codes together follow the prior."""

from __future__ import annotations

import keras

from aezoo.inputs.arguments import check_input_shape, check_number, check_positive_integer
from aezoo.layers.sampling import MaximumMeanDiscrepancy
from aezoo.layers.seeds import Seeds
from aezoo.losses import SummedLoss
from aezoo.model_classes.compiling import check_loss
from aezoo.model_classes.generative import GenerativeAutoencoder
from aezoo.models._build import autoencoder
from aezoo.models._networks import make_decoder, make_encoder
from aezoo.models._registry import register


@register
def wae(
    input_shape: tuple[int, ...],
    latent_dim: int = 8,
    architecture: str = "dense",
    hidden_units: tuple[int, ...] = (512, 256),
    filters: tuple[int, ...] = (32, 64),
    activation: str | None = "silu",
    mmd_weight: float = 10.0,
    output_activation: str | None = "sigmoid",
    *,
    weights: str | None = None,
    optimizer: str | keras.optimizers.Optimizer = "adam",
    loss: str | None = None,
    learning_rate: float | None = None,
    jit_compile: bool | str = "auto",
    compile: bool = True,
    seed: int | None = None,
    name: str = "wae",
) -> GenerativeAutoencoder:
    """A Wasserstein autoencoder with a maximum mean discrepancy (WAE-MMD).

    Minimises the squared error, summed over the elements of a sample, plus `mmd_weight` times
    the maximum mean discrepancy of a batch of codes from the standard normal prior. The
    encoder is deterministic. History has `mmd`, the discrepancy; on JAX it is left out, as
    Keras does not keep the metrics of layers there.

    Args:
        input_shape: Shape of one sample, any rank for "dense".
        latent_dim: Size of the code.
        architecture: "dense", or "conv" for images and series.
        hidden_units: For "dense": units of the encoder's hidden layers; the decoder mirrors
            them.
        filters: For "conv": channels of the stages, each of which halves the size.
        activation: Keras activation of the hidden layers.
        mmd_weight: Of the discrepancy.
        output_activation: Keras activation of the reconstruction: "sigmoid" for data in
            [0, 1], None for standardised columns.
        weights: None, or the path of a `.weights.h5` or `.keras` file.
        optimizer: Name of a Keras optimizer, or one, which is copied.
        loss: Keras loss of (clean input, reconstruction), summed over the elements; None is
            "mse".
        learning_rate: None is 0.001, or the given optimizer's own.
        jit_compile: True, False, or "auto".
        compile: False returns the model without optimizer and loss.
        seed: Integer that fixes initial weights and draws, or None.
        name: Name of the model.

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
    shape = check_input_shape(input_shape)
    latent_dim = check_positive_integer("latent_dim", latent_dim)
    check_number("mmd_weight", mmd_weight, 0)
    check_loss(loss or "mse")
    seeds = Seeds(seed)
    net = make_encoder(architecture, shape, latent_dim, hidden_units, filters, activation, seeds)
    code = MaximumMeanDiscrepancy(mmd_weight, seed=seeds(), name="mmd")(net.output)
    decoder = make_decoder(
        architecture,
        shape,
        latent_dim,
        hidden_units,
        filters,
        activation,
        output_activation,
        seeds,
    )
    return autoencoder(
        keras.Model(net.input, code, name="encoder"),
        decoder,
        model_class=GenerativeAutoencoder,
        optimizer=optimizer,
        loss=SummedLoss(loss or "mse"),
        learning_rate=learning_rate,
        weights=weights,
        jit_compile=jit_compile,
        compile=compile,
        name=name,
    )
