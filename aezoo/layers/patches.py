"""Patches of images as tokens: cut, embedded, masked, restored and joined again."""

import keras
import numpy as np
from keras import ops

from aezoo.layers._draws import EvaluationDraws
from aezoo.layers.reporting import draws, hand_over


def padded_grid(size, patch_size):
    """(rows, columns) of patches that cover an image of (height, width)."""
    return tuple(-(-length // patch_size) for length in size)


def cut_patches(images, patch_size):
    """Patches (batch, rows * columns, patch_size^2 * channels); zeros pad images at the end."""
    height, width, channels = images.shape[1:]
    rows, columns = padded_grid((height, width), patch_size)
    padding = [(0, rows * patch_size - height), (0, columns * patch_size - width)]
    images = ops.pad(images, [(0, 0), *padding, (0, 0)])
    images = ops.reshape(images, (-1, rows, patch_size, columns, patch_size, channels))
    return ops.reshape(
        ops.transpose(images, (0, 1, 3, 2, 4, 5)),
        (-1, rows * columns, patch_size * patch_size * channels),
    )


def join_patches(patches, size, patch_size):
    """Images (batch, *size, channels) from the patches of `cut_patches`."""
    rows, columns = padded_grid(size, patch_size)
    channels = patches.shape[-1] // patch_size**2
    images = ops.reshape(patches, (-1, rows, columns, patch_size, patch_size, channels))
    images = ops.transpose(images, (0, 1, 3, 2, 4, 5))
    images = ops.reshape(images, (-1, rows * patch_size, columns * patch_size, channels))
    return images[:, : size[0], : size[1]]


def positions(grid, width):
    """Sines and cosines of the row and of the column of each patch, (rows * columns, width)."""
    quarter = -(-width // 4)
    # As in "Attention Is All You Need", where one number has sines and cosines of half the width
    # each. Here row and column share the width, so that each of the four waves has a quarter.
    rates = 1 / 10_000 ** (np.arange(quarter) / quarter)
    angles = [np.outer(axis.ravel(), rates) for axis in np.indices(grid)]
    parts = [wave(angle) for angle in angles for wave in (np.sin, np.cos)]
    return np.concatenate(parts, 1)[:, :width].astype("float32")


@keras.saving.register_keras_serializable("aezoo")
class CutPatches(keras.layers.Layer):
    """Images (batch, height, width, channels) as patches (batch, patches, elements).

    Args:
        patch_size: Height and width of a patch; images are padded with zeros to whole patches.

    Example:

    >>> CutPatches(4)(np.zeros((2, 8, 10, 3), "float32")).shape
    TensorShape([2, 6, 48])
    """

    def __init__(self, patch_size: int, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = patch_size

    def call(self, images):
        return cut_patches(images, self.patch_size)

    def get_config(self):
        return {**super().get_config(), "patch_size": self.patch_size}


@keras.saving.register_keras_serializable("aezoo")
class JoinPatches(keras.layers.Layer):
    """Joins patches to images: the inverse of `CutPatches`.

    Args:
        size: (height, width) of the images.
        patch_size: Height and width of a patch.

    Example:

    >>> JoinPatches((8, 10), 4)(np.zeros((2, 6, 48), "float32")).shape
    TensorShape([2, 8, 10, 3])
    """

    def __init__(self, size, patch_size: int, **kwargs):
        super().__init__(**kwargs)
        self.size, self.patch_size = tuple(size), patch_size

    def call(self, patches):
        return join_patches(patches, self.size, self.patch_size)

    def get_config(self):
        return {**super().get_config(), "size": self.size, "patch_size": self.patch_size}


@keras.saving.register_keras_serializable("aezoo")
class AddPositions(keras.layers.Layer):
    """Adds the sines and cosines of each patch's place to tokens (batch, patches, width).

    It has no weights, so that a model trained at one image size can be used at another.

    Args:
        grid: (rows, columns) of the patches.

    Example:

    >>> AddPositions((2, 3))(np.zeros((1, 6, 8), "float32")).shape
    TensorShape([1, 6, 8])
    """

    def __init__(self, grid, **kwargs):
        super().__init__(**kwargs)
        self.grid = tuple(grid)

    def compute_output_shape(self, input_shape):
        return input_shape  # without the table of `call`, which a file could make huge

    def call(self, tokens):
        return tokens + ops.cast(positions(self.grid, tokens.shape[-1]), tokens.dtype)

    def get_config(self):
        return {**super().get_config(), "grid": self.grid}


@keras.saving.register_keras_serializable("aezoo")
class MaskPatches(keras.layers.Layer):
    """Keeps a random share of the tokens in training and in an evaluation; otherwise all.

    In training, a frozen layer keeps all.

    Args:
        ratio: Share of the tokens that are left out.
        seed: Integer that fixes the masks, or None.

    Returns the tokens that are kept (batch, kept, width), and the order of all tokens
    (batch, tokens), which begins with those that are kept. The layer hands over `mask`
    (batch, tokens), which is 1 where a token was left out.

    Example:

    >>> visible, order = MaskPatches(0.75, seed=0)(np.zeros((2, 16, 8), "float32"), training=True)
    >>> visible.shape, order.shape
    (TensorShape([2, 4, 8]), TensorShape([2, 16]))
    """

    def __init__(self, ratio: float, *, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.ratio, self.seed = ratio, seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.evaluation = EvaluationDraws()

    def call(self, tokens, training=None):
        batch, count = ops.shape(tokens)[0], tokens.shape[1]
        training = training and self.trainable
        if not training and not draws():
            return tokens, ops.broadcast_to(ops.arange(count), (batch, count))
        # An encoder without any token would have no output.
        kept = max(1, round(count * (1 - self.ratio)))
        if training:
            chances = keras.random.uniform((batch, count), seed=self.seed_generator)
        else:
            chances = self.evaluation.uniform(batch, count)
        # Sorting random numbers gives a random permutation, a different one for each sample.
        order = ops.cast(ops.argsort(chances, axis=-1), "int32")
        # The argsort of a permutation is its inverse: the place of each token in the order.
        hand_over(mask=ops.cast(ops.argsort(order, axis=-1) >= kept, tokens.dtype))
        return ops.take_along_axis(tokens, order[:, :kept, None], 1), order

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio, "seed": self.seed}

    def compute_output_spec(self, tokens, training=None):
        order = keras.KerasTensor(tokens.shape[:2], "int32")
        # None, because training keeps fewer tokens than inference, and one graph has both.
        visible = (tokens.shape[0], None, tokens.shape[2])
        return keras.KerasTensor(visible, self.compute_dtype), order


@keras.saving.register_keras_serializable("aezoo")
class RestorePatches(keras.layers.Layer):
    """Puts tokens back in their places; one learnt token fills the places that were left out.

    Args:
        seed: Integer that fixes the initial value of the learnt token, or None.

    Takes what `MaskPatches` returns; returns (batch, tokens, width).

    Example:

    >>> visible, order = MaskPatches(0.75, seed=0)(np.zeros((2, 16, 8), "float32"), training=True)
    >>> RestorePatches(seed=0)([visible, order]).shape
    TensorShape([2, 16, 8])
    """

    def __init__(self, *, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape):
        self.mask_token = self.add_weight(
            name="mask_token",
            shape=(input_shape[0][-1],),
            # The standard deviation in the code of the paper.
            initializer=keras.initializers.RandomNormal(stddev=0.02, seed=self.seed),
        )

    def call(self, inputs):
        visible, order = inputs
        missing = order.shape[1] - visible.shape[1]
        if not missing:
            return visible
        shape = (ops.shape(visible)[0], missing, visible.shape[2])
        tokens = ops.broadcast_to(ops.cast(self.mask_token, visible.dtype), shape)
        places = ops.cast(ops.argsort(order, axis=-1), "int32")
        return ops.take_along_axis(ops.concatenate([visible, tokens], 1), places[..., None], 1)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}

    def compute_output_shape(self, input_shape):
        return (*input_shape[1], input_shape[0][-1])
