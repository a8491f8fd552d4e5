"""The U-Net denoiser: its decoder sees every scale of the input, so it has no code."""

from __future__ import annotations

from typing import Unpack

import keras
from keras import layers

from aezoo.inputs.annotations import Activation, Flag, GridShape, NonNegative, Seed, Size, Sizes
from aezoo.layers.clip import OutputActivation
from aezoo.layers.corruption import Corruption, make_corruption
from aezoo.layers.seeds import Seeds, output_dtype
from aezoo.model_classes.reconstruction_model import ReconstructionModel
from aezoo.models._build import reconstruction_model
from aezoo.models._registry import register
from aezoo.models._shared import Shared
from aezoo.models.conv import crop


@register
def unet_ae(
    input_shape: GridShape = (),
    filters: Sizes = (32, 64, 128),
    *,
    blocks: Size = 1,
    corruption: Corruption = "gaussian",
    level: NonNegative = 0.5,
    clip: Flag = True,
    activation: Activation = "relu",
    output_activation: OutputActivation = "clip",
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> ReconstructionModel:
    """A U-Net that learns to take noise away, for images and series.

    Minimises the mean squared error between the clean input and the output of the net for a
    corrupted copy; the corruption is drawn again in every step. The net halves the size from stage
    to stage and then doubles it again. Each stage on the way up also gets the output of the stage
    of the same size on the way down. The net computes a change that is added to its input; at first
    this change is 0.

    Args:
        input_shape: (height, width, channels) of an image or (steps, channels) of a series;
            any sizes, odd ones too. The weights do not depend on the sizes: a model for whole
            images can take `get_weights` of a model for patches.
        filters: Channels of the stages, from the input inwards.
        blocks: Residual blocks of two convolutions in each stage, on the way down and up.
        corruption: "gaussian", "masking", "salt_and_pepper", "affine", a Keras layer, or
            None for training on (noisy, clean) pairs of your own.
        level: Strength of the corruption, see `denoising_ae`.
        clip: Whether gaussian noise is clipped to [0, 1].
        activation: Keras activation of the convolutions.
        output_activation: "clip" for data in [0, 1], None for any other, or a Keras activation.
        seed: Integer that fixes initial weights and noise, or None.

    Returns:
        A compiled `ReconstructionModel`: it has no encoder, no decoder and no code.

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.unet_ae((8, 8, 1), filters=(8, 16), level=0.2, seed=0)
    >>> history = model.fit(aezoo.data.load("digits"), epochs=2, verbose=0)
    >>> model.reconstruct(model.corrupt(aezoo.data.arrays("digits"), seed=0)).shape
    (1437, 8, 8, 1)

    Reference:
        Ronneberger, Fischer, Brox, 2015, "U-Net: Convolutional Networks for Biomedical Image
        Segmentation", https://arxiv.org/abs/1505.04597; Zhang et al., 2017, "Beyond a Gaussian
        Denoiser" (the residual), https://arxiv.org/abs/1608.03981
    """
    seeds = Seeds(seed)
    corruption = make_corruption(corruption, level, clip, seeds())
    two = len(input_shape) == 3
    convolution = layers.Conv2D if two else layers.Conv1D
    transposed = layers.Conv2DTranspose if two else layers.Conv1DTranspose

    def convolve(x, channels, name, size=3, strides=1, kind=convolution, start=None):
        start = start or keras.initializers.HeNormal(seed=seeds())
        return kind(channels, size, strides, "same", kernel_initializer=start, name=name)(x)

    def stage(x, channels, name):
        for i in range(blocks):
            y = convolve(x, channels, f"{name}_{i}_first")
            y = layers.Activation(activation, name=f"{name}_{i}_activation")(y)
            # No batch normalisation: blocks that begin as the identity do not need it, and
            # statistics of patches would be wrong for whole images.
            y = convolve(y, channels, f"{name}_{i}_second", start="zeros")
            x = layers.Add(name=f"{name}_{i}")([x, y])  # begins as the identity
        return x

    x = inputs = keras.Input(input_shape, name="input")
    seen = []
    for i, channels in enumerate(filters):
        # The first stage keeps the full size, as its skip is the only one that has every pixel.
        x = convolve(x, channels, f"down_{i}", strides=2 if i else 1)
        x = stage(x, channels, f"down_{i}_block")
        seen.append(x)
    for i in reversed(range(len(filters) - 1)):
        # A kernel that equals its stride never overlaps, so that there is no checkerboard.
        x = convolve(x, filters[i], f"up_{i}", size=2, strides=2, kind=transposed)
        x = crop(x, seen[i].shape[1:-1], f"crop_{i}")  # odd sizes were rounded up on the way down
        # The paper concatenates the two, which doubles the channels and the work of what follows.
        x = layers.Add(name=f"skip_{i}")([x, seen[i]])
        x = stage(x, filters[i], f"up_{i}_block")
    # At first the output is the input: noise is easier to predict than the image below it.
    x = convolve(x, input_shape[-1], "change", start="zeros")
    x = layers.Add(dtype=output_dtype(), name="output")([inputs, x])
    x = layers.Activation(output_activation, dtype=output_dtype(), name="reconstruction")(x)
    network = keras.Model(inputs, x, name="network")
    return reconstruction_model(network, corruption=corruption, usual_learning_rate=0.002, **shared)
