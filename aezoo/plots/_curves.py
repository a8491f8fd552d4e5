"""Learning curves, label curves, and metrics of several models as curves."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from aezoo.inputs.annotations import Text, Title, checked
from aezoo.plots._given import as_numbers, by_number, check_named


@checked
def history(columns: dict[str, list[float]], title: Title = None) -> Figure:
    """Learning curves on a logarithmic scale, training and validation in one picture.

    Args:
        columns: From the name of a column of the history to its values, one per epoch.
        title: Title of the figure, or None.

    Returns:
        A matplotlib figure.

    Example:

    >>> len(aezoo.plots.history({"loss": [0.2, 0.1], "val_loss": [0.2, 0.15]}).axes)
    1
    """
    columns = {str(name): as_numbers(name, values) for name, values in _some("columns", columns)}
    names = [name for name in columns if not name.startswith("val_") and name not in _NO_CURVES]
    if not names:
        raise ValueError(f"`columns` must have a curve. Received: {', '.join(columns)}")
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


@checked
def label_curve(rows: list[dict], title: Title = None) -> Figure:
    """Accuracy against the number of labels, one line per method, with its spread.

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
    for row in rows if isinstance(rows, (list, tuple)) and rows else (rows,):
        if not isinstance(row, dict) or not set(_ROW) <= set(row):
            raise ValueError(f"`rows` must be dicts with {', '.join(_ROW)}. Received: {row!r}")
        given = [row[key] for key in _ROW[1:] if key != "spread" or row[key] is not None]
        as_numbers("rows", given)
    figure = Figure(figsize=(5.5, 3.6), layout="constrained")
    axis = figure.subplots()
    for method in dict.fromkeys(row["method"] for row in rows):
        chosen = [row for row in rows if row["method"] == method]
        numbers, values, spreads = (
            [row[key] for row in chosen] for key in ("labels_per_class", "accuracy", "spread")
        )
        spreads = [spread or 0 for spread in spreads]  # None: of one seed
        axis.errorbar(numbers, values, spreads, marker="o", capsize=3, label=method)
    # A logarithmic axis would have powers of ten at its ticks, and not the numbers that were tried.
    numbers = sorted({row["labels_per_class"] for row in rows})
    axis.set_xscale("log")
    axis.set_xticks(numbers, map(str, numbers))
    axis.minorticks_off()
    axis.set_xlabel("labels per class")
    axis.set_ylabel("test accuracy")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


@checked
def learning_curves(
    histories: dict[str, dict], column: Text = "mse", title: Title = None
) -> Figure:
    """One column of the histories of several trainings; dashed where it is on validation data.

    Args:
        histories: From a training's label to its history, as `aezoo.train` and `fit` give it.
        column: What is drawn; "loss" where a history does not have it.
        title: Title of the figure, or None.

    Returns:
        A matplotlib figure.

    Example:

    >>> histories = {"one": {"mse": [0.2, 0.1]}, "two": {"mse": [0.3, 0.1], "val_mse": [0.3, 0.2]}}
    >>> len(aezoo.plots.learning_curves(histories).axes[0].lines)
    3
    """
    histories = {
        label: dict(_some("histories", one)) for label, one in _some("histories", histories)
    }
    figure, axis = _chart(title)
    for number, (label, columns) in enumerate(histories.items()):
        name = column if column in columns else "loss"
        if name not in columns:
            raise ValueError(
                f"`histories` must have {column} or loss. Received: {', '.join(map(str, columns))}"
            )
        for key, style, suffix in ((name, "-", ""), (f"val_{name}", "--", ", validation")):
            if key in columns:
                values = as_numbers(key, columns[key])
                axis.plot(
                    range(1, len(values) + 1), values, style, color=f"C{number}",
                    marker="." if len(values) < 30 else "", label=label + suffix,
                )  # fmt: skip
    _logarithmic(axis)
    axis.set_xlabel("epoch")
    axis.set_ylabel(column)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend(frameon=False, fontsize=9)
    return figure


@checked
def error_histogram(errors: dict[str, np.ndarray], title: Title = None) -> Figure:
    """How the reconstruction errors of the samples are spread, on a logarithmic scale.

    Args:
        errors: From a model's label to the error of each sample, as `reconstruction_error`
            gives it.
        title: Title of the figure, or None.

    Returns:
        A matplotlib figure.

    Example:

    >>> errors = np.random.default_rng(0).random(100)
    >>> len(aezoo.plots.error_histogram({"conv_ae": errors, "PCA 32": 2 * errors}).axes)
    1
    """
    errors = {name: as_numbers("errors", values) for name, values in _some("errors", errors)}
    if not all(np.isfinite(values).all() for values in errors.values()):
        raise ValueError("`errors` must be finite. Received: NaN or infinity")
    figure, axis = _chart(title)
    # Errors of 0 have no logarithm, and are shown a million times below the largest.
    high = max(1e-12, *map(np.max, errors.values()))
    positive = {name: np.maximum(values, 1e-6 * high) for name, values in errors.items()}
    low = min(map(np.min, positive.values()))
    # Where all errors are equal, bins would have no width.
    bins = np.geomspace(low, max(high, low * 1.01), 50)
    for number, (name, values) in enumerate(positive.items()):
        # Shares, as models may be measured on different numbers of samples.
        weights = np.full(len(values), 1 / len(values))
        style = {"bins": bins, "weights": weights, "color": f"C{number}"}
        axis.hist(values, histtype="stepfilled", alpha=0.35, **style)
        axis.hist(values, histtype="step", linewidth=1.2, label=name, **style)
    axis.set_xscale("log")
    axis.set_xlabel("mean squared error per sample")
    axis.set_ylabel("share of the samples")
    axis.legend(frameon=False, fontsize=9)
    return figure


@checked
def noise_curve(errors: dict[str, dict[float, float]], title: Title = None) -> Figure:
    """Error against the noise of the input, one line per model.

    Args:
        errors: From a model's label to {standard deviation: mean squared error}.
        title: Title of the figure, or None.

    Returns:
        A matplotlib figure.

    Example:

    >>> len(aezoo.plots.noise_curve({"conv_ae": {0: 0.01, 0.2: 0.02}}).axes)
    1
    """
    for _, values in _some("errors", errors):
        as_numbers("errors", list(by_number("errors", values)))
    figure, axis = _chart(title)
    for name, values in errors.items():
        axis.plot(list(values), list(values.values()), marker="o", markersize=4, label=name)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("standard deviation of the noise")
    axis.set_ylabel("mean squared error")
    axis.legend(frameon=False, fontsize=9)
    return figure


@checked
def class_scores(scores: dict[str, dict], label: Text = "AUROC", title: Title = None) -> Figure:
    """A score for each class, one marker per model.

    Args:
        scores: From a model's label to {class: score}.
        label: What the score is.
        title: Title of the figure, or None.

    Returns:
        A matplotlib figure.

    Example:

    >>> len(aezoo.plots.class_scores({"conv_ae": {"0": 0.9, "1": 0.95}}).axes)
    1
    """
    for _, values in _some("scores", scores):
        by_number("scores", values)
    figure, axis = _chart(title)
    classes = [str(one) for one in next(iter(scores.values()))]
    places = np.arange(len(classes))
    for number, (name, values) in enumerate(scores.items()):
        if [str(one) for one in values] != classes:
            raise ValueError(
                f"`scores` must be of the same classes for all. Received: {list(values)} of {name}"
            )
        # The markers of all models share half of the width of a class.
        beside = (number - (len(scores) - 1) / 2) * 0.5 / len(scores)
        axis.plot(places + beside, list(values.values()), "os^Dv"[number % 5], label=name)
    # The names of more than 20 classes would overlap.
    axis.set_xticks(places if len(classes) <= 20 else [], classes if len(classes) <= 20 else [])
    axis.set_xlabel("class")
    axis.set_ylabel(label)
    axis.legend(frameon=False, fontsize=9)
    return figure


def _logarithmic(axis):
    """A logarithmic y axis with plain numbers, where the values span a factor of 5 or more."""
    # The limits of the data, as those of the axis have margins that may be negative.
    low, high = axis.dataLim.intervaly
    if low <= 0 or high < 5 * low:
        return
    axis.set_yscale("log")
    # Within one power of ten matplotlib would label nothing.
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())


def _chart(title):
    """A figure that is small enough for a phone, and its axes."""
    # Not by pyplot, which keeps each figure in a global list until it is closed.
    figure = Figure(figsize=(4.2, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.grid(alpha=0.3, which="major")
    axis.spines[["top", "right"]].set_visible(False)
    if title:
        axis.set_title(title, fontsize=10)
    return figure, axis


def _some(name, value):
    return check_named(name, value).items()


_NO_CURVES = ("epoch", "seconds", "learning_rate")
_ROW = ("method", "labels_per_class", "accuracy", "spread")


def _same_as_before(columns, names, name) -> bool:
    """Whether a curve repeats an earlier one, as mse does where it is the loss."""
    return any(np.allclose(columns[name], columns[other], rtol=1e-4) for other in names)
