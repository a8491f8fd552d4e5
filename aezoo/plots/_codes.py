"""Codes: where samples lie, and what the directions between them mean."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval
from matplotlib.figure import Figure

from aezoo.inputs.annotations import FixedSeed, Number, Size, Title, checked
from aezoo.inputs.arrays import as_array
from aezoo.inputs.training_data import check_values
from aezoo.plots._given import Inches, check_model, unit
from aezoo.plots._samples import image_rows

Reach = Annotated[Number, Interval(ge=0, le=1e6)]
Steps = Annotated[Size, Interval(ge=1, le=1000), "an integer from 1 to 1000"]


@checked
def code_map(
    codes,
    labels=None,
    title: Title = None,
    *,
    method: Literal["tsne", "pca"] = "tsne",
    seed: FixedSeed = 0,
) -> Figure:
    """Codes as points in two dimensions, coloured by label.

    Args:
        codes: Array (samples, ...), flattened.
        labels: Integers (samples,), or None.
        title: Title of the figure, or None.
        method: "tsne", which keeps neighbours together but not distances, or "pca", which
            shows the two strongest directions. Codes of two values are shown as they are.
        seed: Integer that fixes the t-SNE.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if an argument is not one of the above.

    Example:

    >>> x, y = aezoo.data.arrays("digits", "test", labels=True)
    >>> figure = aezoo.plots.code_map(x, y, method="pca")
    >>> len(figure.axes[0].collections)  # a set of points for each digit
    10
    """
    codes = unit(codes, "codes")
    check_values(codes, -np.inf, np.inf, "`codes`")
    labels = None if labels is None else np.asarray(as_array(labels))
    if labels is not None and labels.shape != codes.shape[:1]:
        raise ValueError(
            f"`labels` must be None or one per sample, {codes.shape[:1]}. "
            f"Received: shape {labels.shape}"
        )
    points = _projected(codes.reshape(len(codes), -1).astype("float32"), method, seed)
    figure = Figure(figsize=(4.2, 4.2), layout="constrained")
    axis = figure.subplots()
    # Many points are smaller, so that they do not cover each other.
    size = float(np.clip(6000 / len(points), 4, 30))
    if labels is None:
        axis.scatter(*points.T, s=size, linewidths=0, alpha=0.8)
    else:
        _coloured(axis, points, labels, size)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_color("0.8")
    if title:
        axis.set_title(title, fontsize=10)
    return figure


@checked
def traversals(
    model,
    x,
    directions: Size = 6,
    steps: Steps = 9,
    *,
    reach: Reach = 3.0,
    title: Title = None,
    size: Inches = 1.0,
) -> Figure:
    """What changes along the directions in which the codes of a data set vary most.

    The middle column is the sample whose code is nearest to the mean code; each row moves from
    there along one principal direction of the codes.

    Args:
        model: An `Autoencoder`.
        x: Array (samples, *input_shape) whose codes give mean and directions.
        directions: Maximum number of directions, strongest first.
        steps: Number of columns.
        reach: How far both ends are from the middle, in standard deviations.
        title: Title of the figure, or None.
        size: Width and height of a sample in inches.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: if a number is not positive.

    Example:

    >>> model = aezoo.pca_ae((8, 8, 1), 16)
    >>> x = aezoo.data.arrays("digits")
    >>> history = model.fit(x, verbose=0)
    >>> len(aezoo.plots.traversals(model, x, directions=2, steps=5).axes)
    10
    """
    x = unit(x)
    check_values(x, -np.inf, np.inf, "`x`")
    codes = check_model("model", model, code=True).encode(x)
    flat = codes.reshape(len(codes), -1).astype("float64")
    # The SVD of the codes themselves: the eigenvalues of their covariance are squares of these,
    # with half of the digits.
    centred = flat - flat.mean(0)
    _, values, vectors = np.linalg.svd(centred, full_matrices=False)
    spreads = values / np.sqrt(max(1, len(flat) - 1))
    # A code that a sample has: the mean of codes in clusters may decode to nothing that exists.
    middle = flat[np.argmin(np.square(centred).sum(1))]
    # Codes may all be equal, and then there is no variance to take shares of.
    shares = np.square(values) / max(np.square(values).sum(), np.finfo("float64").tiny)
    distances = np.linspace(-reach, reach, steps)
    rows = {}
    for number in range(min(directions, int((spreads > 0).sum()) or 1)):
        line = middle + distances[:, None] * spreads[number] * vectors[number]
        outputs = model.decode(line.astype("float32").reshape(steps, *codes.shape[1:]))
        rows[f"{number + 1}: {shares[number]:.0%}"] = outputs
    return image_rows(rows, title, size=size, over_first=False)


def _projected(flat, method, seed):
    """Points (samples, 2)."""
    # t-SNE and PCA need a few samples; fewer are shown by the first two values of their codes.
    if flat.shape[1] < 2 or len(flat) < 5:
        padded = np.zeros((len(flat), 2), "float32")
        padded[:, : min(2, flat.shape[1])] = flat[:, :2]
        return padded
    if flat.shape[1] == 2:
        return flat
    if method == "pca":
        from sklearn.decomposition import PCA

        return PCA(2, random_state=seed).fit_transform(flat)
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    # 30 is scikit-learn's default. t-SNE looks at three times as many neighbours, which few samples
    # do not have.
    perplexity = min(30, (len(flat) - 1) / 3)
    # One thread: several add up in any order, so that two runs differ, and wait for each other.
    with threadpool_limits(1):
        return TSNE(init="pca", perplexity=perplexity, random_state=seed).fit_transform(flat)


def _coloured(axis, points, labels, size):
    """Points in the colour of their class; the classes are named where they are few."""
    from matplotlib import colormaps

    classes = np.unique(labels)
    # The ten colours of `tab10` are told apart easily; more classes share a continuous map.
    colours = colormaps["tab10" if len(classes) <= 10 else "turbo"]
    for number, label in enumerate(classes):
        chosen = points[labels == label]
        colour = colours(number if len(classes) <= 10 else number / (len(classes) - 1))
        axis.scatter(*chosen.T, s=size, color=colour, linewidths=0, alpha=0.8, label=label)
        if len(classes) <= 20:
            box = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": colour}
            place = {"ha": "center", "va": "center", "fontweight": "bold", "fontsize": 9}
            # At the median, as outliers would move a mean out of the cloud of its class.
            axis.annotate(str(label), np.median(chosen, 0), bbox=box, **place)
