"""`aezoo.evaluate`: one report card for every model, with PCA of the code's size beside it."""

from __future__ import annotations

from typing import Annotated

from aezoo._version import versions
from aezoo.evaluation.measurements import (
    code_figures,
    corrupted_errors,
    fit_pca,
    keep_samples,
    pca_size,
    reconstruct_all,
    sizes,
    speed,
)
from aezoo.evaluation.progress import Steps
from aezoo.evaluation.report_card import Material, ReportCard
from aezoo.evaluation.samples import data_name, find_data
from aezoo.inputs.annotations import NonNegative, Size, Verbose, checked
from aezoo.inputs.training_data import check_training_data, output_range
from aezoo.model_classes.pooling import Pooling
from aezoo.model_classes.reconstruction_model import ReconstructionModel

NOISE_LEVELS = (0.1, 0.2, 0.4)
NoiseLevels = Annotated[tuple[NonNegative, ...], "a tuple of numbers of at least 0"]


@checked
def evaluate(
    model,
    data,
    labels=None,
    *,
    train=None,
    noise_levels: NoiseLevels = NOISE_LEVELS,
    pooling: Pooling = None,
    limit: Size | None = None,
    data_dir: str | None = None,
    histories: dict[str, dict] | None = None,
    verbose: Verbose = True,
) -> ReportCard:
    """The report card of a model, with PCA of the same code size in the next column.

    All metrics are taken on clean inputs unless they say otherwise. Those that need labels are
    left out where there are none, PSNR and SSIM where the data do not lie in [0, 1]. Data are read
    batch by batch; only the codes that a probe is fitted to are held in memory. A model without a
    code, such as `unet_ae`, has neither PCA nor probes; if it has corruption, it is compared with
    the best affine map.

    Args:
        model: An `Autoencoder` or another `ReconstructionModel`, or a dict from names to
            several of one input shape, which are shown side by side.
        data: What is measured: a source as in `aezoo.data.load`, whose test split is taken,
            an array (samples, *input_shape), or a dataset of x or of (x, labels).
        labels: Integers (samples,) of an array, or None.
        train: What PCA and the probes are fitted to, as `data`, or (x, labels). None takes the
            training split of a source; of anything else, and of a source without a test split,
            a fifth is measured and they are fitted to the rest.
        noise_levels: Standard deviations of the noise that is added to inputs; noisy inputs
            are clipped to [0, 1]. Where the data do not lie there, they are not clipped, and the
            unit is the standard deviation of the data.
        pooling: As in `aezoo.transfer.features`; None takes whole codes up to 1,024 values.
        limit: Maximum number of samples to measure, and to fit to.
        data_dir: As in `aezoo.data.load`.
        histories: From a model's name to its history, for the learning curves; None takes
            that of the last `fit`.
        verbose: As in `aezoo.train`.

    Returns:
        A `ReportCard`.

    Raises:
        ValueError: if an argument or the data cannot be right, or a model takes labels.

    Example:

    >>> model = aezoo.dense_ae((8, 8, 1), 8, hidden_units=(128,), seed=0)
    >>> run = aezoo.train(model, "digits", epochs=60, verbose=False)
    >>> card = aezoo.evaluate(model, "digits", verbose=False)
    >>> list(card.columns)
    ['dense_ae', 'PCA 8']
    >>> card["dense_ae"]["mse"] < card["PCA 8"]["mse"]
    True
    """
    models = dict(model) if isinstance(model, dict) else {getattr(model, "name", "model"): model}
    shape = check_models(models)
    if histories is not None and not isinstance(histories, dict):
        raise ValueError(f"`histories` must be a dict or None. Received: {histories!r}")
    # Data of a dataset are not held in memory: each of the stages below reads them once more.
    fitted, measured = find_data(shape, data, labels, train, limit, data_dir)
    if histories is None:
        histories = {name: _last_history(model) for name, model in models.items()}
    for one in models.values():
        check_training_data(one, fitted.inputs())
        check_training_data(one, measured.inputs())
    with Steps(verbose) as steps:
        samples = keep_samples(measured, steps)
        columns, compared = _columns(models, fitted, samples, steps)
        found = reconstruct_all(columns, measured, samples, noise_levels, steps)
        figures = {name: {**found[name].figures(), **sizes(one)} for name, one in columns.items()}
        noisy = {name: one for name, one in models.items() if one.corruption is not None}
        # Each model has a corruption of its own, so the column of a PCA can show an error on
        # corrupted inputs only where one model alone has that PCA.
        for name, one in noisy.items():
            pca = compared[name]
            with steps(f"{name}: corrupted inputs"):
                errors, pca_error = corrupted_errors(one, columns.get(pca), fitted, measured)
            figures[name] |= errors
            beside = [compared[other] for other in noisy]
            if pca is not None and beside.count(pca) == 1:
                figures[pca]["corrupted_mse"] = pca_error
        for name, one in columns.items():
            if one.code_size is not None and fitted.labelled and measured.labelled:
                figures[name] |= code_figures(name, one, fitted, measured, pooling, steps)
            with steps(f"{name}: speed"):
                figures[name] |= speed(one, samples.x)
    about = {
        "data": data_name(data),
        "input_shape": list(shape),
        "samples": len(next(iter(found.values())).errors),
        "noise_unit": samples.noise_unit,
        # What PCA was solved from, also where a dataset does not tell its length.
        "fitted_samples": next((columns[pca].sums.samples for pca in compared.values() if pca), 0),
        "without_code": [name for name, pca in compared.items() if pca is None],
        "versions": versions(),
    }
    kept = Material(
        columns, compared, samples, found, {key: kept for key, kept in histories.items() if kept}
    )
    return ReportCard(about, figures, kept)


def check_models(models: dict) -> tuple[int, ...]:
    """The input shape that all of them have."""
    if not models:
        raise ValueError("`model` must be at least one model. Received: {}")
    for model in models.values():
        if not isinstance(model, ReconstructionModel):
            raise ValueError(
                f"`model` must be an Autoencoder, or a dict of them. Received: {model!r}"
            )
        if len(model.inputs) > 1:
            raise ValueError(
                "`model` must take inputs alone, as PCA and the probes do; a conditional model "
                f"takes labels too. Received: {model!r}"
            )
    shapes = {tuple(model.input_shape[1:]) for model in models.values()}
    if len(shapes) > 1:
        raise ValueError(
            "`model` must be models of one input shape. "
            f"Received: {' and '.join(map(str, sorted(shapes)))}"
        )
    return shapes.pop()


def _columns(models, fitted, samples, steps):
    """The models, with the PCA of a code size after them, and the PCA of each model or None."""
    found = {name: pca_size(model) for name, model in models.items()}
    compared = {name: None if size is None else f"PCA {size}" for name, size in found.items()}
    taken = set(models) & set(compared.values())
    if taken:
        raise ValueError(f"`model` must not have the name of its PCA. Received: {taken.pop()!r}")
    columns = {}
    # Columns are grouped by code size, each group with its PCA last.
    for pca_name in dict.fromkeys(compared.values()):
        same = {name: model for name, model in models.items() if compared[name] == pca_name}
        columns |= same
        if pca_name is None:
            continue
        with steps(pca_name):
            ranges = {output_range(model) for model in same.values()}
            pca = fit_pca(next(iter(same.values())), fitted, samples.in_unit_range, ranges)
        columns[pca_name] = pca
    return columns, compared


def _last_history(model) -> dict:
    """What the last `fit` in this process recorded."""
    # A Keras model has its `History` callback as `history`, and one that was loaded has none.
    return getattr(getattr(model, "history", None), "history", {})
