"""Pictures as matplotlib figures; no global state is read or changed."""

from __future__ import annotations

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from aezoo import _checks, _pixels


def image_rows(rows: dict[str, np.ndarray], title: str | None = None) -> Figure:
    """Rows of samples above one another, a column a sample.

    Args:
        rows: From the row's label to an array (samples, *sample shape) in [0, 1]: images
            of 1 or 3 channels, or anything else, which is drawn as curves.
        title: Title of the figure, or None.

    Returns:
        A matplotlib figure, which its `savefig` writes.

    Example:

    >>> images = aezoo.data.arrays("digits")[:8] / 255.0
    >>> len(aezoo.plots.image_rows({"input": images}).axes)
    8
    """
    columns = min(len(samples) for samples in rows.values())
    figure = Figure(
        figsize=(columns + 1.6, len(rows) + (0.4 if title else 0.1)), layout="constrained"
    )
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, (label, samples) in zip(axes, rows.items(), strict=True):
        for axis, sample in zip(line, samples, strict=False):
            _draw(axis, sample)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def heat_maps(x, maps, title: str | None = None) -> Figure:
    """Samples above the heat maps of their errors, a column a sample, on one scale.

    Args:
        x: Array (samples, *input_shape), floats in [0, 1] or pixels as uint8 or uint16.
        maps: What `Detector.heat_map(x)` returns.
        title: Title of the figure, or None.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if `x` and `maps` are not as many.

    Example:

    >>> images = aezoo.data.arrays("digits")[:8]
    >>> len(aezoo.plots.heat_maps(images, np.zeros((8, 8, 8))).axes)
    17
    """
    x, maps = _checks.to_numpy(_pixels.scale_pixels(np.asarray(x))), np.asarray(maps)
    if len(x) != len(maps) or not len(x):
        raise ValueError(
            f"`x` and `maps` must hold as many samples. Received: {len(x)} and {len(maps)}"
        )
    figure = Figure(figsize=(len(x) + 1.6, 2.1 + (0.3 if title else 0)), layout="constrained")
    axes = figure.subplots(2, len(x), squeeze=False)
    colours = Normalize(0, max(float(maps.max()), 1e-12))
    for above, below, sample, errors in zip(*axes, x, maps, strict=True):
        _draw(above, sample)
        below.set_xticks([])
        below.set_yticks([])
        if errors.ndim == 2:
            below.imshow(errors, cmap="inferno", norm=colours)
        else:
            below.plot(errors, linewidth=0.7)
            below.set_ylim(0, colours.vmax)
    for axis, label in zip(axes[:, 0], ("input", "error"), strict=True):
        axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    if maps.ndim == 3:
        figure.colorbar(ScalarMappable(colours, "inferno"), ax=axes[1], fraction=0.02)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def history(columns: dict[str, list[float]], title: str | None = None) -> Figure:
    """Learning curves on a logarithmic scale, training and validation in one picture.

    Args:
        columns: From the name of a column of the history to its values, an epoch each.
        title: Title of the figure, or None.

    Returns:
        A matplotlib figure.

    Example:

    >>> len(aezoo.plots.history({"loss": [0.2, 0.1], "val_loss": [0.2, 0.15]}).axes)
    1
    """
    names = [name for name in columns if not name.startswith("val_") and name not in _NO_CURVES]
    names = [name for i, name in enumerate(names) if not _same_as_before(columns, names[:i], name)]
    figure = Figure(figsize=(4.5 * len(names), 3.2), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in columns:
                values = columns[key]
                axis.plot(
                    range(1, len(values) + 1),
                    values,
                    marker="." if len(values) < 30 else "",
                    label=label,
                )
        if min(columns[name]) > 0:
            axis.set_yscale("log")
        axis.set_xlabel("epoch")
        axis.set_title(name, fontsize=10)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3, which="both")
        axis.legend(frameon=False)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def label_curve(rows: list[dict], title: str | None = None) -> Figure:
    """Accuracy against the number of labels, a line a method, with its spread.

    Args:
        rows: Those of `aezoo.transfer.LabelCurve`.
        title: Title of the figure, or None.

    Returns:
        A matplotlib figure.

    Example:

    >>> rows = [{"method": "probe", "labels_per_class": 10, "accuracy": 0.9, "spread": 0.01}]
    >>> len(aezoo.plots.label_curve(rows).axes)
    1
    """
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axis = figure.subplots()
    for method in dict.fromkeys(row["method"] for row in rows):
        chosen = [row for row in rows if row["method"] == method]
        numbers, values, spreads = (
            [row[key] for row in chosen] for key in ("labels_per_class", "accuracy", "spread")
        )
        axis.errorbar(numbers, values, spreads, marker="o", capsize=3, label=method)
    numbers = sorted({row["labels_per_class"] for row in rows})
    axis.set_xscale("log")
    axis.set_xticks(numbers, map(str, numbers))
    axis.minorticks_off()
    axis.set_xlabel("labels a class")
    axis.set_ylabel("test accuracy")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


_NO_CURVES = ("epoch", "seconds", "learning_rate")


def _same_as_before(columns, names, name) -> bool:
    """Whether a curve repeats an earlier one, as mse does where it is the loss."""
    return any(np.allclose(columns[name], columns[other], rtol=1e-4) for other in names)


def _draw(axis, sample):
    axis.set_xticks([])
    axis.set_yticks([])
    if sample.ndim == 3 and sample.shape[-1] in (1, 3):
        picture = np.clip(np.asarray(sample, "float32"), 0, 1)
        axis.imshow(
            picture.squeeze(-1) if picture.shape[-1] == 1 else picture, cmap="gray", vmin=0, vmax=1
        )
        axis.spines[:].set_visible(False)
    else:
        axis.plot(np.reshape(sample, (len(sample), -1) if sample.ndim > 1 else -1), linewidth=0.7)
