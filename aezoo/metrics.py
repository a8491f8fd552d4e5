"""Measures of reconstructions and codes: PSNR, SSIM, and registered Keras metrics."""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops
from scipy.ndimage import uniform_filter

from aezoo.inputs.arguments import check_positive_integer, check_text
from aezoo.inputs.arrays import as_array, is_array, to_numpy
from aezoo.inputs.pixels import scale_pixels

# The measure of activity, Cov_x(E[u | x]), and the threshold are those of Burda et al. (2016).
ACTIVE_VARIANCE = 0.01
# The window of scikit-image; the paper weighs 11x11 pixels by a Gaussian instead.
SSIM_WINDOW = 7
C1, C2 = 0.01**2, 0.03**2  # (K L)^2 of SSIM for values of range L = 1


@keras.saving.register_keras_serializable("aezoo")
class ActiveUnits(keras.metrics.Metric):
    """How many units of the code tell samples apart: their variance is above 0.01.

    A unit of a variational autoencoder that collapsed to the prior has the same mean for
    every sample, and is not counted.

    Args:
        units: Size of the code.

    Example:

    >>> metric = ActiveUnits(2)
    >>> metric.update_state(np.array([[0.0, 1.0], [0.0, 2.0]], "float32"))
    >>> float(metric.result())
    1.0

    Reference:
        Burda, Grosse, Salakhutdinov, 2016, "Importance Weighted Autoencoders",
        https://arxiv.org/abs/1509.00519
    """

    def __init__(self, units: int, name="active_units", **kwargs):
        super().__init__(name=check_text("name", name), **kwargs)
        self.units = check_positive_integer("units", units)
        self.count = self.add_weight(name="count", initializer="zeros")
        self.sums = self.add_weight(name="sums", shape=(units,), initializer="zeros")
        self.squares = self.add_weight(name="squares", shape=(units,), initializer="zeros")

    def update_state(self, codes, sample_weight=None):
        """Adds codes (batch, units)."""
        codes = ops.cast(codes, self.dtype)
        # The variance over all samples is not the mean of those of batches, but sums add up.
        self.count.assign_add(ops.cast(ops.shape(codes)[0], self.dtype))
        self.sums.assign_add(ops.sum(codes, 0))
        self.squares.assign_add(ops.sum(codes * codes, 0))

    def result(self):
        count = ops.maximum(self.count, 1.0)
        mean = self.sums / count
        # Large means would cost digits in this difference; the KL term of a VAE keeps them small.
        variance = self.squares / count - mean * mean
        return ops.sum(ops.cast(variance > ACTIVE_VARIANCE, self.dtype))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def psnr(x, y) -> np.ndarray:
    """The peak signal-to-noise ratio of each sample in dB: 10 log10(1 / MSE).

    The PSNR of a whole data set comes from its mean squared error, not from the mean of these.

    Args:
        x: Array (samples, ...) in [0, 1], or pixels as uint8 or uint16, which are scaled.
        y: The reconstructions, in the same form.

    Returns:
        Array (samples,); infinite where a reconstruction is exact.

    Raises:
        ValueError: if the shapes differ.

    Example:

    >>> x = np.zeros((2, 8, 8, 1), "float32")
    >>> aezoo.metrics.psnr(x, x + 0.1).round(3).tolist()
    [20.0, 20.0]
    """
    x, y = _pair(x, y)
    errors = np.square(x - y).reshape(len(x), -1).mean(1)
    with np.errstate(divide="ignore"):
        return -10 * np.log10(errors)


def ssim(x, y) -> np.ndarray:
    """The structural similarity of each pair of images, 1 for equal ones.

    Equal to `skimage.metrics.structural_similarity` with its defaults and `data_range=1`: means
    and sample covariances in uniform windows of 7x7 pixels, K1 = 0.01, K2 = 0.03, each channel
    separately, averaged over all windows that lie inside the image. For smaller images the
    window is the largest one of odd size that fits.

    Args:
        x: Array (samples, height, width, channels) in [0, 1], or pixels as uint8 or uint16,
            which are scaled.
        y: The reconstructions, in the same form.

    Returns:
        Array (samples,).

    Raises:
        ValueError: if the shapes differ, or are not those of images of at least 3x3 pixels.

    Example:

    >>> x = aezoo.data.arrays("digits")[:2]
    >>> aezoo.metrics.ssim(x, x).tolist()
    [1.0, 1.0]

    Reference:
        Wang, Bovik, Sheikh, Simoncelli, 2004, "Image Quality Assessment: From Error
        Visibility to Structural Similarity", https://doi.org/10.1109/TIP.2003.819861
    """
    x, y = _pair(x, y)
    if not has_ssim(x.shape[1:]):
        raise ValueError(
            "`x` must be images (samples, height, width, channels) of at least 3x3 pixels. "
            f"Received: shape {x.shape}"
        )
    shortest = min(SSIM_WINDOW, *x.shape[1:3])
    window = shortest - 1 + shortest % 2
    # Near the border the filter reflects the image, so windows that stick out are left out.
    inside = slice(window // 2, -(window // 2))

    def mean(values):
        # Sizes of 1 keep samples and channels apart.
        smooth = uniform_filter(values, (1, window, window, 1))
        return smooth[:, inside, inside]

    # Sample covariances, which divide by n - 1, are the default of scikit-image.
    pixels = window * window
    unbiased = pixels / (pixels - 1)
    mean_x, mean_y = mean(x), mean(y)
    variance_x = unbiased * (mean(x * x) - mean_x * mean_x)
    variance_y = unbiased * (mean(y * y) - mean_y * mean_y)
    covariance = unbiased * (mean(x * y) - mean_x * mean_y)
    # Equation 13 of the paper, with contrast and structure in one factor.
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    structure = (2 * covariance + C2) / (variance_x + variance_y + C2)
    return (luminance * structure).mean((1, 2, 3))


def _checked(x):
    x = as_array(x)
    if not is_array(x) or not len(x.shape):
        raise ValueError(f"`x` and `y` must be arrays. Received: a {type(x).__name__}")
    return x


def has_ssim(shape: tuple) -> bool:
    """Whether samples of this shape are images that a window fits into."""
    return len(shape) == 3 and min(shape[:2]) >= 3


def _pair(x, y):
    """Both as float64 in [0, 1]."""
    # `ssim` takes differences of nearly equal squares, of which float32 would leave few digits.
    x, y = (to_numpy(scale_pixels(_checked(part))).astype("float64") for part in (x, y))
    if x.shape != y.shape:
        raise ValueError(
            f"`x` and `y` must have the same shape. Received: shapes {x.shape} and {y.shape}"
        )
    return x, y


def score(mse: float, in_unit_range: bool = True) -> dict:
    """MSE, and for values in [0, 1] the PSNR in dB, 10 log10(1 / MSE)."""
    if not in_unit_range:
        return {"mse": mse}
    return {"mse": mse, "psnr": 10 * math.log10(1 / mse) if mse > 0 else math.inf}


@keras.saving.register_keras_serializable("aezoo")
class CodebookUse(keras.metrics.Metric):
    """`perplexity`, the exponential of the entropy of the entries' use, and `used_codes`.

    Args:
        codebook_size: Number of entries.

    Example:

    >>> metric = CodebookUse(4)
    >>> metric.update_state(np.array([[0, 1], [1, 0]]))
    >>> {name: round(float(value), 3) for name, value in metric.result().items()}
    {'perplexity': 2.0, 'used_codes': 2.0}
    """

    def __init__(self, codebook_size: int, name="codebook_use", **kwargs):
        super().__init__(name=name, **kwargs)
        self.codebook_size = codebook_size
        self.counts = self.add_weight(name="counts", shape=(codebook_size,), initializer="zeros")

    def update_state(self, indices, sample_weight=None):
        """Adds the indices of entries, integers of any shape."""
        indices = ops.reshape(indices, (-1,))
        ones = ops.ones_like(indices, dtype=self.dtype)
        self.counts.assign_add(ops.segment_sum(ones, indices, self.codebook_size))

    def result(self):
        share = self.counts / ops.maximum(ops.sum(self.counts), 1.0)
        # Entries without use count 0 log 0 = 0, which without the bound would be 0 * -inf = NaN.
        entropy = -ops.sum(share * ops.log(ops.maximum(share, 1e-12)))
        used = ops.sum(ops.cast(self.counts > 0, self.dtype))
        return {"perplexity": ops.exp(entropy), "used_codes": used}

    def get_config(self):
        return {**super().get_config(), "codebook_size": self.codebook_size}
