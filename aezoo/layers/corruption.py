"""Corruption of the input of a denoising autoencoder, active in training only."""

import keras
from keras import ops

from aezoo._arguments import check_choice, check_number


class _Corruption(keras.layers.Layer):
    """What the corruptions share: a level, a seed, and silence outside training."""

    def __init__(self, level: float, *, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.level = level
        self.seed = seed
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
        salted = ops.where(draw < self.level, ops.ones_like(inputs), inputs)
        return ops.where(draw < self.level / 2, ops.zeros_like(inputs), salted)


def make_corruption(corruption, level: float, clip: bool, seed: int | None):
    """The corruption layer of that name; a Keras layer or None is returned as it is."""
    if corruption is None or isinstance(corruption, keras.layers.Layer):
        return corruption
    check_choice("corruption", corruption, ("gaussian", "masking", "salt_and_pepper"))
    if corruption == "gaussian":
        return GaussianCorruption(level, clip, seed=seed)
    layer = MaskingCorruption if corruption == "masking" else SaltAndPepperCorruption
    return layer(level, seed=seed)
