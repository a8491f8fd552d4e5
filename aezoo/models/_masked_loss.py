"""The loss of `masked_ae`."""

import keras
from keras import ops

from aezoo.layers.patches import cut_patches, join_patches

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
