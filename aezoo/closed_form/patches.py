"""Convolutional features without training: filters from whitened patches."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, Unpack

import keras
import numpy as np
from keras import layers, ops

from aezoo.closed_form._linear_algebra import ridge
from aezoo.closed_form._model import ClosedForm, closed_form
from aezoo.closed_form._stages import (
    Sample,
    Solver,
    Stage,
    flat_input,
    make_network,
    reconstruction,
)
from aezoo.inputs.annotations import ImageShape, NonNegative, Seed, Size
from aezoo.layers.clip import OutputActivation
from aezoo.layers.seeds import Seeds
from aezoo.models._registry import register
from aezoo.models._shared import Shared

# The maximum number of patches for k-means, so that its time does not grow with the data.
PATCHES = 100_000
PATCHES_PER_IMAGE = 4
# Share of the patches that a filter responds to.
ACTIVE = 0.2


@register
def patch_ae(
    input_shape: ImageShape = (),
    filters: Size = 800,
    *,
    kernel_size: Size = 6,
    pool: Size = 2,
    method: Literal["kmeans", "pca"] = "kmeans",
    regularization: NonNegative | None = None,
    output_activation: OutputActivation = "clip",
    seed: Seed = None,
    **shared: Unpack[Shared],
) -> ClosedForm:
    """Image features from whitened patches, pooled, with a ridge decoder.

    Minimises the squared error of a linear decoder of pooled filter responses; the filters are
    centroids of whitened patches. One pass draws patches and finds the filters, and a second pass
    finds the decoder. The model is made for features: a linear classifier on the code is far more
    accurate than one on the pixels.

    Args:
        input_shape: (height, width, channels), any sizes.
        filters: Number of filters.
        kernel_size: Height and width of the patches.
        pool: The responses are averaged over a grid of (pool, pool) cells, or of fewer if fewer
            whole cells cover all responses (5 responses in 4 cells: 3 cells of 2).
        method: "kmeans" takes centroids of scikit-learn's k-means as filters. "pca" takes principal
            components, the leading ones first, and then the same with the other sign; the maximum
            is 2 * kernel_size^2 * channels filters.
        regularization: Ridge strength of the decoder in units of the code's mean
            variance; None chooses it by generalised cross-validation.
        output_activation: "clip" for pixels and other data in [0, 1], None for any other.
        seed: Integer that fixes the patches and the k-means, or None.

    Returns:
        A compiled `ClosedForm`, codes (batch, cells * filters).

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.patch_ae((8, 8, 1), filters=50, kernel_size=3, seed=0)
    >>> history = model.fit(aezoo.data.load("digits"), verbose=0)
    >>> model.encode(aezoo.data.arrays("digits")).shape
    (1437, 200)

    Reference:
        Coates, Lee, Ng, 2011, "An Analysis of Single-Layer Networks in Unsupervised Feature
        Learning", https://proceedings.mlr.press/v15/coates11a.html
    """
    kernel = tuple(min(kernel_size, size) for size in input_shape[:2])
    most = 2 * math.prod(kernel) * input_shape[2]
    if method == "pca" and filters > most:
        raise ValueError(f"`filters` must be at most {most} for method 'pca'. Received: {filters}")
    seeds = Seeds(seed)
    x = inputs = keras.Input(input_shape, name="input")
    x = PatchFilters(filters, kernel, seed=seeds(), name="filters")(x)
    # Cells of the map of responses, which is smaller than the image: patches lie inside the image.
    cell = [math.ceil(size / pool) for size in x.shape[1:3]]
    x = layers.AveragePooling2D(cell, padding="same", name="pool")(x)
    encoder = keras.Model(inputs, layers.Flatten(name="code")(x), name="encoder")
    inputs = keras.Input(encoder.output_shape[1:], name="code")
    start = keras.initializers.GlorotUniform(seed=seeds())
    x = layers.Dense(math.prod(input_shape), kernel_initializer=start, name="output")(inputs)
    decoder = keras.Model(inputs, reconstruction(x, input_shape, output_activation), name="decoder")
    return closed_form(
        encoder,
        decoder,
        Patches(method, regularization, seeds()),
        **shared,
    )


@keras.saving.register_keras_serializable("aezoo")
class PatchFilters(layers.Layer):
    """A ReLU convolution of patches, each divided by its standard deviation.

    The filters have a sum of 0, so that a patch's mean has no effect.
    """

    # The paper adds 10 to the variance of a patch of pixels from 0 to 255: 10 / 255^2 in [0, 1].
    def __init__(self, filters, kernel_size, seed=None, noise=1.5e-4, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.kernel_size = filters, tuple(kernel_size)
        self.seed, self.noise = seed, noise

    def build(self, input_shape):
        shape = (*self.kernel_size, input_shape[-1], self.filters)
        start = keras.initializers.GlorotUniform(seed=self.seed)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=start)
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, x):
        # After `fit` the sum is 0 up to rounding; with the random weights before `fit` it is not.
        # With a sum of exactly 0, the convolution of a patch is that of the centred patch.
        kernel = self.kernel - ops.mean(self.kernel, (0, 1, 2))
        mean = ops.average_pool(ops.mean(x, -1, keepdims=True), self.kernel_size, 1)
        square = ops.average_pool(ops.mean(x * x, -1, keepdims=True), self.kernel_size, 1)
        # The variance as E[x^2] - E[x]^2, which rounding can make negative.
        deviation = ops.sqrt(ops.maximum(square - mean * mean, 0) + self.noise)
        return ops.relu(ops.conv(x, kernel) / deviation + self.bias)

    def get_config(self):
        config = {"filters": self.filters, "kernel_size": self.kernel_size}
        return {**super().get_config(), **config, "seed": self.seed, "noise": self.noise}


class PatchSample(Sample):
    """Patches (patches, height, width, channels) at random places of the images."""

    def __init__(self, kernel_size, seed):
        super().__init__(PATCHES, seed)
        self.kernel_size = kernel_size

    def add(self, images):
        # The window's axes come last, after the channels, and keep their order in the index below.
        windows = np.lib.stride_tricks.sliding_window_view(images, self.kernel_size, (1, 2))
        which = np.repeat(np.arange(len(images)), PATCHES_PER_IMAGE)
        rows, columns = (
            self._generator.integers(size, size=len(which)) for size in windows.shape[1:3]
        )
        super().add(np.moveaxis(windows[which, rows, columns], 1, -1))


@keras.saving.register_keras_serializable("aezoo")
@dataclasses.dataclass
class Patches(Solver):
    """Two passes: patches for the filters, then the decoder on the pooled responses."""

    method: str
    regularization: float | None
    seed: int | None

    def stages(self, model):
        layer, output = model.encoder.get_layer("filters"), model.decoder.get_layer("output")
        inputs, flat = flat_input(model)
        yield Stage(
            make_network(inputs, flat),
            lambda sample: layer.set_weights(self.filters(layer, sample.rows)),
            lambda: PatchSample(layer.kernel_size, self.seed or 0),
        )
        inputs, flat = flat_input(model)
        # The responses of all filters at every place of a whole block would take gigabytes.
        yield Stage(
            make_network(inputs, model.encoder(inputs), flat),
            lambda moments: output.set_weights(ridge(moments, self.regularization)),
            batch_size=128,
        )

    def filters(self, layer, patches):
        """Kernel and bias of `PatchFilters` from patches (patches, height, width, channels)."""
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits

        shape = patches.shape[1:]
        # As in `PatchFilters`: each patch without its mean, divided by its standard deviation.
        patches = patches.reshape(len(patches), -1).astype("float64")
        patches = patches - patches.mean(1, keepdims=True)
        patches /= np.sqrt(np.square(patches).mean(1, keepdims=True) + layer.noise)
        mean = patches.mean(0)
        # `reshape`, because the covariance of patches of one element is a scalar.
        values, vectors = np.linalg.eigh(np.cov(patches.T, bias=True).reshape([len(mean)] * 2))
        # The paper whitens with 0.1, too, and rotates back (ZCA). Without the rotation, distances
        # are the same, and so are the centroids. One eigenvalue is 0: that of the subtracted mean.
        whiten = vectors / np.sqrt(np.maximum(values, 0) + 0.1)
        if self.method == "pca":
            leading = np.eye(len(mean))[:, ::-1]
            directions = np.concatenate([leading, -leading], 1)[:, np.arange(layer.filters)]
        else:
            white = (patches - mean) @ whiten
            clusters = min(layer.filters, len(white))
            # k-means++ would go through the patches once per filter before the first step.
            kmeans = KMeans(clusters, init="random", n_init=1, max_iter=30, random_state=self.seed)
            # Several threads would sum the members of a centroid in different orders, so that one
            # seed would give different models.
            with threadpool_limits(1, "openmp"):
                kmeans.fit(white.astype("float32"))
            directions = kmeans.cluster_centers_.T.astype("float64")
            # With fewer patches than filters the other filters are 0, also after the division.
            directions = np.pad(directions, [(0, 0), (0, layer.filters - clusters)])
            directions /= np.maximum(np.linalg.norm(directions, axis=0), 1e-12)
        kernel = whiten @ directions
        # Instead of the paper's triangle: a threshold that the share ACTIVE of the patches exceeds,
        # at least 0. The layer does not subtract the mean patch, so the bias does.
        answers = (patches - mean) @ kernel
        bias = -mean @ kernel - np.maximum(np.quantile(answers, 1 - ACTIVE, axis=0), 0)
        return kernel.reshape(*shape, -1), bias
