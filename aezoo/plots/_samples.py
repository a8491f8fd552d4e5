"""Samples and what models make of them, in rows."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from aezoo.inputs.annotations import Size, Title, checked
from aezoo.inputs.arrays import as_array, is_array, to_numpy
from aezoo.plots._given import Inches, check_models, check_named, unit


@checked
def image_rows(
    rows: dict[str, np.ndarray],
    title: Title = None,
    *,
    size: Inches = 1.0,
    over_first: bool = True,
) -> Figure:
    """Rows of samples, one below the other, with one column per sample.

    Args:
        rows: From the row's label to an array (samples, *sample shape) in [0, 1]: images
            of 1 or 3 channels, or anything else, which is plotted as curves on one scale.
        title: Title of the figure, or None.
        size: Width and height of a sample in inches.
        over_first: Whether the curves of the first row are shown behind those of the others.

    Returns:
        A matplotlib figure; its `savefig` writes it to a file.

    Example:

    >>> images = aezoo.data.arrays("digits")[:8] / 255.0
    >>> len(aezoo.plots.image_rows({"input": images}).axes)
    8
    """
    rows = {name: _drawable(samples) for name, samples in check_named("rows", rows).items()}
    columns = min(len(samples) for samples in rows.values())
    figure = _figure(columns, len(rows), size, 0.4 if title else 0.1)
    fill(figure, rows, columns, over_first)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


@checked
def reconstructions(models: dict, x, title: Title = None, *, size: Inches = 1.0) -> Figure:
    """Samples above what each model makes of them.

    Args:
        models: From a row's label to an `Autoencoder`.
        x: Array (samples, *input_shape), one column per sample.
        title: As in `image_rows`.
        size: As in `image_rows`.

    Returns:
        A matplotlib figure.

    Example:

    >>> model = aezoo.dense_ae((8, 8, 1), 4, seed=0)
    >>> x = aezoo.data.arrays("digits")[:5]
    >>> len(aezoo.plots.reconstructions({"dense_ae": model}, x).axes)
    10
    """
    rows = {"input": unit(x)}
    rows |= {name: model.reconstruct(x) for name, model in check_models(models).items()}
    return image_rows(rows, title, size=size)


@checked
def worst_and_best(
    models: dict, x, columns: Size = 8, title: Title = None, *, size: Inches = 1.0
) -> Figure:
    """The samples that a model reconstructs worst, and below them those that it reconstructs best.

    Args:
        models: From a row's label to an `Autoencoder`; the first one chooses the samples.
        x: Array (samples, *input_shape) to choose from.
        columns: Maximum number of samples of either kind.
        title: As in `image_rows`.
        size: As in `image_rows`.

    Returns:
        A matplotlib figure.

    Example:

    >>> model = aezoo.dense_ae((8, 8, 1), 4, seed=0)
    >>> x = aezoo.data.arrays("digits")[:50]
    >>> len(aezoo.plots.worst_and_best({"dense_ae": model}, x, 6).axes)
    24
    """
    x, first = unit(x), next(iter(check_models(models).values()))
    order = np.argsort(np.square(first.reconstruct(x) - x).reshape(len(x), -1).mean(1))
    # At most half of the samples, so that none is among the worst and the best.
    columns = min(columns, max(1, len(x) // 2))
    figure = _figure(columns, 2 * (1 + len(models)), size, 0.8 if title else 0.5)
    parts = zip(figure.subfigures(2, 1), (order[::-1], order), ("worst", "best"), strict=True)
    for part, chosen, word in parts:
        shown = x[chosen[:columns]]
        rows = {name: model.reconstruct(shown) for name, model in models.items()}
        fill(part, {"input": shown, **rows}, columns)
        part.suptitle(word, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def fill(figure, rows: dict, columns: int, over_first: bool = True) -> None:
    """Plots rows of samples into a figure or a part of one."""
    first = next(iter(rows.values()))
    curves = not is_image(first.shape[1:])
    # Curves need one scale to be compared; for images the y axis is that of their pixels.
    axes = figure.subplots(len(rows), columns, squeeze=False, sharey=curves)
    for number, (line, (label, samples)) in enumerate(zip(axes, rows.items(), strict=True)):
        # A row may hold more samples than the shortest one, which decides on the columns.
        for axis, sample, behind in zip(line, samples, first, strict=False):
            draw(axis, sample, behind if number and over_first else None)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)


def _drawable(samples) -> np.ndarray:
    """Numbers (samples, ...) of any dtype."""
    found = as_array(samples)
    if not is_array(found) or len(found.shape) < 2 or not all(found.shape):
        raise ValueError(
            f"`rows` must hold arrays of samples. Received: a {type(samples).__name__}"
        )
    found = to_numpy(found)
    if found.dtype.kind not in "fiub":
        raise ValueError(f"`rows` must hold numbers. Received: dtype {found.dtype}")
    return found


def is_image(shape: tuple) -> bool:
    """Whether a sample of this shape is plotted as an image."""
    return len(shape) == 3 and shape[-1] in (1, 3)


def draw(axis, sample, behind=None) -> None:
    """One sample: an image, or curves with those of another sample behind them."""
    axis.set_xticks([])
    axis.set_yticks([])
    if is_image(sample.shape):
        # Clipped here, as matplotlib warns of RGB values beyond [0, 1]; scaled from 0 to 1, as it
        # would stretch grey values to their own range.
        picture = np.clip(np.asarray(sample, "float32"), 0, 1)
        axis.imshow(
            picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=1
        )
        axis.spines[:].set_visible(False)
        return
    axis.spines[:].set_color("0.8")
    if behind is not None:
        axis.plot(_columns(behind), color="0.8", linewidth=2)
    axis.plot(_columns(sample), linewidth=0.8)


def _columns(sample):
    """A sample as curves: one for each channel."""
    return np.reshape(sample, (len(sample), -1) if sample.ndim > 1 else -1)


def _figure(columns: int, rows: int, size: float, extra: float) -> Figure:
    """A figure for this number of samples; small ones are closer than matplotlib puts them."""
    width = columns * size + 1.6 * min(1, 2 * size)
    figure = Figure(figsize=(width, rows * size + extra), layout="constrained")
    if size < 1:
        figure.get_layout_engine().set(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    return figure
