"""Where reconstructions err."""

from __future__ import annotations

from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from aezoo.inputs.annotations import Title, checked
from aezoo.plots._given import unit
from aezoo.plots._samples import draw


@checked
def heat_maps(x, maps, title: Title = None) -> Figure:
    """Samples above the heat maps of their errors, one column per sample, all on one scale.

    Args:
        x: Array (samples, *input_shape), floats in [0, 1] or pixels as uint8 or uint16.
        maps: What `Detector.heat_map(x)` returns.
        title: Title of the figure, or None.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if `x` and `maps` differ in their number of samples.

    Example:

    >>> images = aezoo.data.arrays("digits")[:8]
    >>> len(aezoo.plots.heat_maps(images, np.zeros((8, 8, 8))).axes)
    17
    """
    x, maps = unit(x), unit(maps, "maps")
    if len(x) != len(maps) or not len(x):
        raise ValueError(
            "`x` and `maps` must hold the same number of samples. "
            f"Received: {len(x)} and {len(maps)}"
        )
    figure = Figure(figsize=(len(x) + 1.6, 2.1 + (0.3 if title else 0)), layout="constrained")
    axes = figure.subplots(2, len(x), squeeze=False)
    # One scale, so that columns can be compared; it needs a width where all errors are 0 too.
    colours = Normalize(0, max(float(maps.max()), 1e-12))
    for above, below, sample, errors in zip(*axes, x, maps, strict=True):
        draw(above, sample)
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
