"""Masked autoencoders: a vision transformer fills in patches that it has not seen."""

from __future__ import annotations

from typing import Annotated, Unpack

import keras
import numpy as np
from annotated_types import Interval
from keras import layers, ops

from aezoo.inputs.annotations import Activation, Flag, ImageShape, NonNegative, Number, Seed, Size
from aezoo.inputs.arrays import to_numpy
from aezoo.inputs.pixels import scale_pixels
from aezoo.layers.patches import (
    AddPositions,
    CutPatches,
    JoinPatches,
    MaskPatches,
    RestorePatches,
    cut_patches,
    join_patches,
    padded_grid,
)
from aezoo.layers.reporting import collecting, drawing, hand_over, handed_over
from aezoo.layers.seeds import Seeds, output_dtype
from aezoo.layers.transformer import dense, transformer_block
from aezoo.model_classes.autoencoder import Autoencoder
from aezoo.model_classes.compiling import check_loss
from aezoo.model_classes.reconstruction_model import outputs_of, weighed
from aezoo.models._build import autoencoder
from aezoo.models._registry import register
from aezoo.models._shared import Loss, Shared

SMALLEST_VARIANCE = 0.01  # of a patch, if errors are divided by the variance of their patch


@keras.saving.register_keras_serializable("aezoo")
class MaskedLoss(keras.losses.Loss):
    """A loss of pixels, and the weights by which a `MaskedAutoencoder` averages it.

    Args:
        loss: Name of a Keras loss, or a Keras loss.
        visible_weight: Weight of the average over visible pixels.
        normalize_patches: Whether errors are divided by the variance of their patch.
    """

    def __init__(
        self, loss, visible_weight=0.0, normalize_patches=False, name="masked_loss", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.loss = keras.losses.get(loss)
        self.visible_weight, self.normalize_patches = visible_weight, normalize_patches

    def call(self, y_true, y_pred):
        return getattr(self.loss, "call", self.loss)(y_true, y_pred)

    def weights(self, clean, mask, patch_size):
        """The weight of each pixel, (batch, height, width), or None if all count the same.

        Args:
            clean: Images (batch, height, width, channels).
            mask: 1 where a patch was left out (batch, patches), or None if none was left out.
            patch_size: Height and width of a patch.
        """
        weights = None
        if mask is not None:
            mask = of_pixels(mask, clean.shape[1:3], patch_size)
            # Keras averages over all pixels; dividing by the share of a part gives its own mean.
            share = ops.mean(mask)
            weights = mask / ops.maximum(share, 1e-6)
            weights += self.visible_weight * (1 - mask) / ops.maximum(1 - share, 1e-6)
        if self.normalize_patches:
            variance = ops.var(cut_patches(clean, patch_size), -1) + SMALLEST_VARIANCE
            contrast = 1 / of_pixels(variance, clean.shape[1:3], patch_size)
            weights = contrast if weights is None else weights * contrast
        return weights

    def get_config(self):
        config = {"visible_weight": self.visible_weight, "loss": keras.losses.serialize(self.loss)}
        return {**super().get_config(), **config, "normalize_patches": self.normalize_patches}


def of_pixels(values, size, patch_size):
    """Gives the values of patches (batch, patches) to their pixels (batch, height, width)."""
    # In the dtype of the loss, because half precision is too coarse for the share of the mask.
    values = ops.cast(values, keras.config.floatx())
    pixels = ops.repeat(values[..., None], patch_size**2, -1)
    return join_patches(pixels, size, patch_size)[..., 0]


WHOLE = 16  # one in this many samples is not masked in training, so that whole images are learnt


@register
def masked_ae(
    input_shape: ImageShape = (),
    embedding_dim: Size = 128,
    *,
    patch_size: Size = 4,
    mask_ratio: Annotated[Number, Interval(ge=0, le=0.99)] = 0.75,
    depth: Size = 4,
    heads: Size = 4,
    decoder_dim: Size = 64,
    decoder_depth: Size = 2,
    visible_weight: NonNegative = 0.1,
    normalize_patches: Flag = False,
    output_activation: Activation = "sigmoid",
    loss: Loss = None,
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> MaskedAutoencoder:
    """A small vision transformer that sees a quarter of the patches and fills in the others.

    Minimises the mean squared error on the masked patches plus `visible_weight` times the error
    on the visible ones. In training the encoder gets only the visible patches; otherwise it gets
    all of them. To learn this, one sample in sixteen is not masked in training, and at least one in
    a batch of two or more. The paper does without both (`visible_weight=0`), and does not
    reconstruct whole images. The model is made for features: `features` pools the code to one
    vector.

    Args:
        input_shape: (height, width, channels), any sizes; padded to whole patches inside.
        embedding_dim: Size of a token of the encoder and of the code.
        patch_size: Height and width of a patch.
        mask_ratio: Share of the patches that the encoder does not see in training.
        depth: Transformer blocks of the encoder.
        heads: Attention heads of each block.
        decoder_dim: Size of a token of the decoder.
        decoder_depth: Transformer blocks of the decoder.
        visible_weight: Weight of the error on visible patches; 0 masks every sample.
        normalize_patches: Whether the error of a patch is divided by the variance of the patch,
            which makes reconstructions worse and may make features better.
        output_activation: Keras activation of the reconstruction: "sigmoid" for pixels
            and other data in [0, 1], None for any other.
        loss: Keras loss of (clean input, reconstruction); None is "mse".
        seed: Integer that fixes initial weights and masks, or None.

    Returns:
        A compiled `MaskedAutoencoder`, codes (batch, patches, embedding_dim). Its weights do
        not depend on the image's size.

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.masked_ae((8, 8, 1), embedding_dim=16, patch_size=2, depth=1, seed=0)
    >>> x = aezoo.data.arrays("digits")[:100]
    >>> history = model.fit(x, verbose=0)
    >>> model.encode(x).shape, model.features(x).shape
    ((100, 16, 16), (100, 16))

    Reference:
        He, Chen, Xie, Li, Dollar, Girshick, 2022, "Masked Autoencoders Are Scalable Vision
        Learners", https://arxiv.org/abs/2111.06377
    """
    check_loss(loss or "mse")
    # An image that is smaller than a patch is one patch.
    patch_size = min(patch_size, *input_shape[:2])
    grid, seeds = padded_grid(input_shape[:2], patch_size), Seeds(seed)
    inputs = keras.Input(input_shape, name="input")
    x = CutPatches(patch_size, name="cut")(inputs)
    x = dense(embedding_dim, seeds, "embedding")(x)
    x = AddPositions(grid, name="positions")(x)
    x, order = MaskPatches(mask_ratio, seed=seeds(), name="mask")(x)
    for i in range(depth):
        x = transformer_block(x, embedding_dim, heads, seeds, f"block_{i}")
    x = layers.LayerNormalization(name="normalisation")(x)
    x = RestorePatches(seed=seeds(), name="code")([x, order])
    encoder = keras.Model(inputs, x, name="encoder")
    x = inputs = keras.Input(x.shape[1:], name="code")
    x = dense(decoder_dim, seeds, "embedding")(x)
    x = AddPositions(grid, name="positions")(x)
    for i in range(decoder_depth):
        x = transformer_block(x, decoder_dim, heads, seeds, f"block_{i}")
    x = layers.LayerNormalization(name="normalisation")(x)
    x = dense(patch_size**2 * input_shape[2], seeds, "output")(x)
    x = JoinPatches(input_shape[:2], patch_size, name="join")(x)
    x = layers.Activation(output_activation, dtype=output_dtype(), name="reconstruction")(x)
    return autoencoder(
        encoder,
        keras.Model(inputs, x, name="decoder"),
        model_class=MaskedAutoencoder,
        loss=MaskedLoss(loss or "mse", visible_weight, normalize_patches),
        usual_learning_rate=0.003,
        **shared,
    )


@keras.saving.register_keras_serializable("aezoo")
class MaskedAutoencoder(Autoencoder):
    """An autoencoder that is trained on masked patches, made by `masked_ae`.

    `mse` in history is the error on the masked patches.

    Example:

    >>> model = aezoo.masked_ae((8, 8, 1), embedding_dim=16, patch_size=2, depth=1, seed=0)
    >>> seen, filled = model.fill_in(aezoo.data.arrays("digits")[:5], seed=0)
    >>> seen.shape, filled.shape
    ((5, 8, 8, 1), (5, 8, 8, 1))
    """

    @property
    def mask_layer(self) -> MaskPatches:
        """The layer that masks patches."""
        return self.encoder.get_layer("mask")

    weighs_errors = True

    @property
    def patch_size(self) -> int:
        return self.encoder.get_layer("cut").patch_size

    def reconstruct_batch(self, inputs, training=None, mask=None):
        if not training or not self.learns_whole:
            return super().reconstruct_batch(inputs, training, mask)
        count = self._whole(ops.shape(inputs)[0])
        if isinstance(count, int) and not count:
            return super().reconstruct_batch(inputs, training, mask)
        masked = self.encoder(inputs[count:], training=True)
        codes = ops.concatenate([self.encoder(inputs[:count], training=False), masked])
        hidden = handed_over("mask")
        if hidden is not None:  # of the masked samples, which follow the whole ones
            none = ops.zeros((count, hidden.shape[1]), hidden.dtype)
            hand_over(mask=ops.concatenate([none, hidden]))
        return self.decoder(codes, training=True)

    @staticmethod
    def _whole(batch):
        """How many samples of a batch are not masked: at least one, but none in a batch of one."""
        if isinstance(batch, int):
            return min(max(batch // WHOLE, 1), batch - 1)
        return ops.minimum(ops.maximum(batch // WHOLE, 1), batch - 1)

    @property
    def learns_whole(self) -> bool:
        """Whether some samples are not masked in training."""
        return getattr(self.loss, "visible_weight", 1) > 0

    def features(self, x, batch_size: int = 256):
        """One vector per sample: the mean of its tokens.

        Args:
            x: Array (samples, height, width, channels), or a dataset of batches of it.
            batch_size: How many samples of an array go through at once.

        Returns:
            Array (samples, embedding_dim).

        Raises:
            ValueError: if shape or dtype do not fit the model.
        """
        return self.encode(x, batch_size).mean(1)

    def fill_in(self, x, seed: int | None = None):
        """What the encoder sees of `x` in training, and how the model fills in the rest.

        Args:
            x: Array (samples, height, width, channels), not too large.
            seed: Integer that fixes the masks, or None.

        Returns:
            Two arrays of the shape of `x`: with masked patches at 0.5, and with the masked
            patches filled in.

        Raises:
            ValueError: if shape or dtype do not fit the model.
        """
        x = ops.convert_to_tensor(to_numpy(scale_pixels(self._checked(self, x))))
        self.mask_layer.evaluation.begin(int(np.random.default_rng(seed).integers(2**30)))
        with drawing(), collecting() as outputs:
            filled = self.reconstruct_batch(x, training=False)
        mask = of_pixels(outputs["mask"], x.shape[1:3], self.patch_size)[..., None]
        seen = x * (1 - mask)
        return to_numpy(seen + 0.5 * mask), to_numpy(seen + filled * mask)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if isinstance(self.loss, MaskedLoss):
            mask = outputs_of(y_pred).get("mask")
            weights = self.loss.weights(self._target(x, y), mask, self.patch_size)
            sample_weight = weighed(weights, sample_weight)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        outputs = outputs_of(y_pred)
        if "mask" in outputs:
            size = outputs["reconstruction"].shape[1:3]
            mask = of_pixels(outputs["mask"], size, self.patch_size)
            sample_weight = weighed(mask, sample_weight)
        return super().compute_metrics(x, y, outputs, sample_weight)
