"""Corruption of the input of a denoising autoencoder, active in training only."""

from typing import Annotated, Literal

import keras
import numpy as np
from keras import ops

from aezoo.inputs.arguments import check_number, check_seed


class _Corruption(keras.layers.Layer):
    """What the corruptions share: a level, a seed, and no effect outside training."""

    def __init__(self, level: float, *, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.level = level
        self.seed = check_seed("seed", seed)
        # An integer instead of a generator would give the same noise at every step.
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs, training=None):
        return self.corrupt(inputs) if training else inputs

    def corrupt(self, inputs):
        raise NotImplementedError

    def get_config(self):
        return {**super().get_config(), "level": self.level, "seed": self.seed}

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("aezoo")
class GaussianCorruption(_Corruption):
    """Adds gaussian noise of standard deviation `level`, then clips to [0, 1].

    Args:
        level: Standard deviation of the noise, in units of the data; pixels are in
            [0, 1].
        clip: Whether the noisy values are clipped to [0, 1], as a camera would. Use
            False for data that is not in [0, 1].
        seed: An integer for noise that can be repeated, or None.

    Raises:
        ValueError: if `level` is negative.

    Example:

    >>> layer = GaussianCorruption(0.1, seed=0)
    >>> noisy = layer(np.full((2, 4), 0.5, "float32"), training=True)
    >>> bool((np.asarray(noisy) != 0.5).all())
    True

    Reference:
        Vincent, Larochelle, Bengio, Manzagol, 2008, "Extracting and Composing Robust
        Features with Denoising Autoencoders", https://doi.org/10.1145/1390156.1390294
    """

    def __init__(self, level: float, clip: bool = True, *, seed: int | None = None, **kwargs):
        super().__init__(check_number("level", level, 0), seed=seed, **kwargs)
        self.clip = clip

    def corrupt(self, inputs):
        noise = keras.random.normal(
            ops.shape(inputs), stddev=self.level, dtype=inputs.dtype, seed=self.seed_generator
        )
        return ops.clip(inputs + noise, 0, 1) if self.clip else inputs + noise

    def get_config(self):
        return {**super().get_config(), "clip": self.clip}


@keras.saving.register_keras_serializable("aezoo")
class MaskingCorruption(_Corruption):
    """Sets a random share `level` of the values to 0.

    Args:
        level: Probability, from 0 to 1, that a value becomes 0.
        seed: An integer for noise that can be repeated, or None.

    Raises:
        ValueError: if `level` is outside [0, 1].

    Reference:
        Vincent, Larochelle, Lajoie, Bengio, Manzagol, 2010, "Stacked Denoising
        Autoencoders", https://jmlr.org/papers/v11/vincent10a.html
    """

    def __init__(self, level: float, *, seed: int | None = None, **kwargs):
        super().__init__(check_number("level", level, 0, 1), seed=seed, **kwargs)

    def corrupt(self, inputs):
        draw = keras.random.uniform(ops.shape(inputs), seed=self.seed_generator)
        return ops.where(draw < self.level, ops.zeros_like(inputs), inputs)


@keras.saving.register_keras_serializable("aezoo")
class SaltAndPepperCorruption(_Corruption):
    """Sets a random share `level` of the values to 0 or to 1, half of them each.

    Args:
        level: Probability, from 0 to 1, that a value is replaced.
        seed: An integer for noise that can be repeated, or None.

    Raises:
        ValueError: if `level` is outside [0, 1].

    Reference:
        Vincent, Larochelle, Lajoie, Bengio, Manzagol, 2010, "Stacked Denoising
        Autoencoders", https://jmlr.org/papers/v11/vincent10a.html
    """

    def __init__(self, level: float, *, seed: int | None = None, **kwargs):
        super().__init__(check_number("level", level, 0, 1), seed=seed, **kwargs)

    def corrupt(self, inputs):
        draw = keras.random.uniform(ops.shape(inputs), seed=self.seed_generator)
        # One draw decides both whether a value is replaced and by what.
        salted = ops.where(draw < self.level, ops.ones_like(inputs), inputs)
        return ops.where(draw < self.level / 2, ops.zeros_like(inputs), salted)


@keras.saving.register_keras_serializable("aezoo")
class AffineCorruption(_Corruption):
    """Moves, turns, stretches and shears images at random.

    The code of a model that restores the image must hold what the image shows, and cannot hold how
    it was moved. This is what a classifier needs.

    Args:
        level: Standard deviation of the four entries of the linear map around those of the
            identity. Shifts have a standard deviation of `level` times a quarter of height and
            width.
        seed: An integer for maps that can be repeated, or None.

    Takes images (batch, height, width, channels). Outside the image, the pixels of its edge are
    repeated.

    Raises:
        ValueError: if `level` is negative, or the inputs are not images.

    Example:

    >>> images = aezoo.data.arrays("digits")[:5] / np.float32(16)
    >>> AffineCorruption(0.1, seed=0)(images, training=True).shape
    TensorShape([5, 8, 8, 1])

    Reference:
        Simard, Steinkraus, Platt, 2003, "Best Practices for Convolutional Neural Networks
        Applied to Visual Document Analysis", https://doi.org/10.1109/ICDAR.2003.1227801
    """

    def __init__(self, level: float, *, seed: int | None = None, **kwargs):
        super().__init__(check_number("level", level, 0), seed=seed, **kwargs)

    def build(self, input_shape):
        if len(input_shape) != 4:
            raise ValueError(
                "Affine corruption takes images (height, width, channels). "
                f"Received: {tuple(input_shape[1:])}"
            )

    def corrupt(self, inputs):
        shape = (ops.shape(inputs)[0], 2, 3)
        draws = self.level * keras.random.normal(shape, seed=self.seed_generator)
        return self.moved(inputs, draws)

    @staticmethod
    def moved(inputs, draws):
        """Images, moved by the maps that differ from the identity by `draws` (batch, 2, 3)."""
        batch, size = ops.shape(inputs)[0], inputs.shape[1:3]
        # Counted from the middle of the image, so that turning does not also move it.
        centred = [np.arange(length) - (length - 1) / 2 for length in size]
        grid = np.stack([axis.ravel() for axis in np.meshgrid(*centred, indexing="ij")])
        grid = ops.convert_to_tensor(grid, draws.dtype)
        moves = ops.matmul(draws[..., :2], grid)
        moves += draws[..., 2:] * ops.convert_to_tensor([[n / 4] for n in size], draws.dtype)
        # Clipping places to the image repeats its edge outside of it.
        places = [
            ops.clip(grid[axis] + (size[axis] - 1) / 2 + moves[:, axis], 0, size[axis] - 1)
            for axis in range(2)
        ]
        corners = [ops.floor(place) for place in places]
        # Bilinear interpolation: each new pixel is a weighted mean of the four old pixels around
        # its place, which are gathered by their indices in the flattened image.
        pixels, restored = ops.reshape(inputs, (batch, -1, inputs.shape[3])), 0.0
        for step in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight, index = 1.0, 0
            for axis, far in enumerate(step):
                share = places[axis] - corners[axis]
                weight *= share if far else 1 - share
                place = ops.cast(ops.minimum(corners[axis] + far, size[axis] - 1), "int32")
                index = index * size[axis] + place
            values = ops.take_along_axis(pixels, index[..., None], 1)
            restored += values * ops.cast(weight[..., None], values.dtype)
        return ops.reshape(restored, ops.shape(inputs))


Corruption = (
    Literal["gaussian", "masking", "salt_and_pepper", "affine"]
    | Annotated[keras.layers.Layer, "a Keras layer"]
    | None
)


def make_corruption(corruption, level: float, clip: bool, seed: int | None):
    """The corruption layer of that name; a Keras layer or None is returned as it is."""
    if corruption is None or isinstance(corruption, keras.layers.Layer):
        return corruption
    if corruption == "gaussian":
        return GaussianCorruption(level, clip, seed=seed)
    return _PLAIN[corruption](level, seed=seed)


_PLAIN = {
    "masking": MaskingCorruption,
    "salt_and_pepper": SaltAndPepperCorruption,
    "affine": AffineCorruption,
}
