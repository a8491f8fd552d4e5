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
from aezoo.layers.seeds import Seeds, output_dtype
from aezoo.layers.transformer import dense, transformer_block
from aezoo.model_classes.autoencoder import Autoencoder
from aezoo.model_classes.compiling import check_loss
from aezoo.models._build import autoencoder
from aezoo.models._registry import register
from aezoo.models._shared import Loss, Shared

SMALLEST_VARIANCE = 0.01  # of a patch, where errors are measured in its own contrast


@keras.saving.register_keras_serializable("aezoo")
class MaskedLoss(keras.losses.Loss):
    """A loss of pixels, averaged over the masked ones; the model that is compiled tells which.

    Args:
        loss: Name of a Keras loss, or one.
        visible_weight: Weight of the average over visible pixels.
        normalize_patches: Whether errors are divided by the variance of their patch.
    """

    patch_size = None
    pixel_mask = None

    def __init__(
        self, loss, visible_weight=0.0, normalize_patches=False, name="masked_loss", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.loss = keras.losses.get(loss)
        self.visible_weight, self.normalize_patches = visible_weight, normalize_patches

    def call(self, y_true, y_pred):
        values = getattr(self.loss, "call", self.loss)(y_true, y_pred)
        if self.normalize_patches:
            values = values / self.variance(y_true)
        mask = self.pixel_mask(y_true.shape[1:]) if self.pixel_mask else None
        if mask is None:
            return values
        mask = ops.cast(mask[..., 0], values.dtype)
        share = ops.mean(mask)
        weights = mask / ops.maximum(share, 1e-6)
        weights += self.visible_weight * (1 - mask) / ops.maximum(1 - share, 1e-6)
        return values * weights

    def variance(self, images):
        """The variance of the patch of each pixel, (batch, height, width)."""
        patches = cut_patches(images, self.patch_size)
        variance = ops.var(patches, -1, keepdims=True) + SMALLEST_VARIANCE
        pixels = ops.repeat(variance, self.patch_size**2, -1)
        return join_patches(pixels, images.shape[1:3], self.patch_size)[..., 0]

    def get_config(self):
        config = {"visible_weight": self.visible_weight, "loss": keras.losses.serialize(self.loss)}
        return {**super().get_config(), **config, "normalize_patches": self.normalize_patches}


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
    """A small vision transformer that sees a quarter of the patches and draws the others.

    Minimises the mean squared error on the masked patches, plus `visible_weight` times that
    on the visible ones. In training the encoder takes the visible patches alone; otherwise
    it takes all, which it learns from one sample of sixteen that is not masked, one at least of
    a batch of two or more. The paper does
    without both (`visible_weight=0`), and does not reconstruct whole images. Made for
    features: `features` pools the code to one vector.

    Args:
        input_shape: (height, width, channels), any sizes; padded to whole patches inside.
        embedding_dim: Size of a token of the encoder and of the code.
        patch_size: Height and width of a patch.
        mask_ratio: Share of the patches that the encoder does not see in training.
        depth: Transformer blocks of the encoder.
        heads: Heads of attention.
        decoder_dim: Size of a token of the decoder.
        decoder_depth: Transformer blocks of the decoder.
        visible_weight: Weight of the error on visible patches; 0 masks every sample.
        normalize_patches: Whether the error of a patch is measured in its own contrast,
            which costs the reconstruction and may serve the features.
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

    `mse` in history is that of the masked patches, but on JAX that of all.

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

    drawing_layer = mask_layer
    weighs_errors = True

    @property
    def patch_size(self) -> int:
        return self.encoder.get_layer("cut").patch_size

    def call(self, inputs, training=None, mask=None):
        if not training or not self.learns_whole:
            return super().call(inputs, training=training, mask=mask)
        count = self._whole(ops.shape(inputs)[0])
        if isinstance(count, int) and not count:
            return super().call(inputs, training=training, mask=mask)
        masked = self.encoder(inputs[count:], training=True)
        hidden = self.mask_layer.mask
        codes = ops.concatenate([self.encoder(inputs[:count], training=False), masked])
        if hidden is not None:
            none = ops.zeros((count, hidden.shape[1]), hidden.dtype)
            self.mask_layer.mask = ops.concatenate([none, hidden])
        return self.decoder(codes, training=True)

    @staticmethod
    def _whole(batch):
        """How many samples of a batch are not masked: one at least, but never the only one."""
        if isinstance(batch, int):
            return min(max(batch // WHOLE, 1), batch - 1)
        return ops.minimum(ops.maximum(batch // WHOLE, 1), batch - 1)

    @property
    def learns_whole(self) -> bool:
        """Whether some samples are not masked in training."""
        return getattr(self.loss, "visible_weight", 1) > 0

    def features(self, x, batch_size: int = 256):
        """One vector for each sample: the mean of its tokens.

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
        """What the encoder sees of `x` in training, and what the model makes of it.

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
        layer = self.mask_layer
        layer.evaluation.begin(int(np.random.default_rng(seed).integers(2**30)))
        layer.drawing = True
        try:
            filled = self(x, training=False)
            mask = self.pixel_mask(x.shape[1:])
        finally:
            layer.drawing = False
        seen = x * (1 - mask)
        return to_numpy(seen + 0.5 * mask), to_numpy(seen + filled * mask)

    def pixel_mask(self, shape):
        """1 where the last call masked, (batch, height, width, 1); None where it did not."""
        mask = self.mask_layer.mask
        if mask is None:
            return None
        pixels = ops.repeat(mask[..., None], self.patch_size**2, -1)
        return join_patches(pixels, shape[:2], self.patch_size)

    def compile(self, *args, **options):
        super().compile(*args, **options)
        if isinstance(self.loss, MaskedLoss):
            self.loss.patch_size, self.loss.pixel_mask = self.patch_size, self.pixel_mask

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        mask = None if keras.backend.backend() == "jax" else self.pixel_mask(y_pred.shape[1:])
        if mask is not None:
            mask = mask[..., 0]
            if sample_weight is not None:
                weights = ops.cast(sample_weight, mask.dtype)
                mask *= ops.reshape(weights, (-1, 1, 1)) if len(weights.shape) < 3 else weights
            sample_weight = mask
        return super().compute_metrics(x, y, y_pred, sample_weight)
