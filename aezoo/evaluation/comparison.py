"""`aezoo.compare`: several models under one time budget, with several seeds, in one table."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import time

import numpy as np

from aezoo.callbacks import TimeBudget
from aezoo.evaluation.measurements import (
    code_figures,
    fit_pca,
    keep_samples,
    pca_size,
    reconstruct_all,
    sizes,
)
from aezoo.evaluation.progress import Steps
from aezoo.evaluation.report import check_models
from aezoo.evaluation.report_card import as_text
from aezoo.evaluation.samples import data_name, find_data
from aezoo.inputs.annotations import NonNegative, Size, Verbose, checked
from aezoo.inputs.arrays import is_dataset
from aezoo.inputs.training_data import output_range
from aezoo.models._registry import get_factory
from aezoo.transfer._label_curve import sample_deviation

COLUMNS = {
    "mse": "MSE",
    "ssim": "SSIM",
    "linear_probe": "linear probe",
    "knn": "10-NN",
    "kmeans_nmi": "k-means NMI",
    "epochs": "epochs",
    "seconds": "seconds",
    "code_size": "code",
    "parameters": "parameters",
}
COUNTS = ("code_size", "parameters")
ENDLESS = 1_000_000  # epochs that no time budget reaches


@dataclasses.dataclass
class Comparison:
    """What `aezoo.compare` returns; prints as a table.

    Attributes:
        runs: One dict per training: model, seed and its metrics.
        minutes: The time that each training had.
        data: What they were trained on.
    """

    runs: list[dict]
    minutes: float
    data: str

    @property
    def rows(self) -> list[dict]:
        """One dict per model: for each metric its mean and spread over the seeds.

        The spread is the sample standard deviation, None for one seed.
        """
        rows = []
        for name in dict.fromkeys(run["model"] for run in self.runs):
            same = [run for run in self.runs if run["model"] == name]
            row = {"model": name, "seeds": len(same)}
            for key in COLUMNS:
                values = [run[key] for run in same if key in run]
                if values:
                    row[key] = {"mean": float(np.mean(values)), "spread": sample_deviation(values)}
            rows.append(row)
        return rows

    @property
    def title(self) -> str:
        """The data and the budget."""
        return f"{self.data}, {self.minutes:g} minutes for each training"

    def cells(self) -> tuple[list[str], list[list[str]]]:
        """The header of the table, and its rows as texts."""
        keys = [key for key in COLUMNS if any(key in row for row in self.rows)]
        lines = [
            [row["model"], str(row["seeds"]), *(_text(key, row.get(key)) for key in keys)]
            for row in self.rows
        ]
        return ["model", "seeds", *(COLUMNS[key] for key in keys)], lines

    def table(self):
        """The table as a `rich.table.Table`."""
        from rich.markup import escape
        from rich.table import Table

        header, lines = self.cells()
        table = Table(title=self.title, title_justify="left")
        for name in header:
            table.add_column(name, justify="left" if name == "model" else "right")
        for line in lines:
            table.add_row(*map(escape, line))  # a name may hold [brackets], which are markup
        return table

    def to_json(self) -> str:
        """Every training and the means as JSON."""
        return json.dumps({**dataclasses.asdict(self), "rows": self.rows}, indent=2) + "\n"

    def __rich__(self):
        return self.table()

    def __str__(self) -> str:
        from rich.console import Console

        # A fixed width, so that the text is not that of the terminal it happens to be made in.
        console = Console(file=io.StringIO(), width=160, color_system=None)
        console.print(self.table())
        return console.file.getvalue().rstrip()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from aezoo.evaluation.report_card import environment

        header, lines = self.cells()
        template = environment().get_template("comparison.html")
        return template.render(title=self.title, header=header, lines=lines)


@checked
def compare(
    models,
    data,
    labels=None,
    *,
    minutes: NonNegative = 1.0,
    seeds: Size = 3,
    train=None,
    batch_size: Size = 128,
    limit: Size | None = None,
    data_dir: str | None = None,
    verbose: Verbose = True,
) -> Comparison:
    """Trains several models for the same time from several seeds, and compares them with PCA.

    PCA of each code size is fitted to the same clean samples, and clipped to [0, 1] where the
    data lie there, else to the output range of the models that it is compared with.

    Each training has the whole machine and the same number of minutes, compilation included; the
    learning rate falls to 0 by the end. Closed forms are done when they are solved.

    Args:
        models: A list of names of the zoo, or of functions that take `seed` and return a
            compiled `Autoencoder`; or a dict from labels to these.
        data: As in `aezoo.evaluate`; models are trained on the part that PCA is fitted to there.
        labels: As in `aezoo.evaluate`.
        minutes: For each training.
        seeds: Number of trainings of each model, with the seeds 0, 1, ...
        train: As in `aezoo.evaluate`.
        batch_size: Samples per batch of an array; a dataset has its own batches.
        limit: As in `aezoo.evaluate`.
        data_dir: As in `aezoo.data.load`.
        verbose: As in `aezoo.train`.

    Returns:
        A `Comparison`; the number after ± is the sample standard deviation over the seeds.

    Raises:
        ValueError: if an argument or the data cannot be right.

    Example:

    >>> models = ["pca_ae", lambda seed: aezoo.dense_ae((8, 8, 1), 8, seed=seed)]
    >>> found = aezoo.compare(models, "digits", minutes=0.02, seeds=1, verbose=False)
    >>> [row["model"] for row in found.rows]
    ['pca_ae', 'dense_ae', 'PCA 32', 'PCA 8']
    """
    # No shape is asked for: it is that of the data, and the models are made to fit.
    fitted, measured = find_data((), data, labels, train, limit, data_dir)
    runs, baselines = [], {}
    with Steps(verbose) as steps:
        samples = keep_samples(measured, steps)
        for label, make in _makers(models, samples.x.shape[1:]).items():
            for seed in range(seeds):
                with steps(f"{label}, seed {seed + 1} of {seeds}"):
                    model = make(seed=seed)
                    check_models({label: model})
                    run = {"model": label, "seed": seed}
                    run |= _train(model, fitted, minutes * 60, batch_size)
                run |= _measure(label, model, fitted, measured, samples, steps)
                runs.append(run)
                # One PCA for each code size, with the ranges of outputs of all models of that size.
                if model.code_size is not None:
                    beside = baselines.setdefault(f"PCA {pca_size(model)}", (model, set()))
                    beside[1].add(output_range(model))
        for label, (model, ranges) in baselines.items():
            begun = time.perf_counter()
            pca = fit_pca(model, fitted, samples.in_unit_range, ranges)
            run = {"model": label, "seed": 0, "seconds": time.perf_counter() - begun}
            runs.append(run | _measure(label, pca, fitted, measured, samples, steps))
    return Comparison(runs, minutes, data_name(data))


def _makers(models, shape) -> dict:
    """From label to a function of the seed."""
    if not isinstance(models, (dict, list, tuple)):
        raise ValueError(
            "`models` must be a list of names and functions, or a dict of them by label. "
            f"Received: {models!r}"
        )
    named, makers = isinstance(models, dict), {}
    for label, model in models.items() if named else ((None, model) for model in models):
        if isinstance(model, str):
            make = functools.partial(get_factory(model), shape)
        elif callable(model):
            make = model
        else:
            raise ValueError(
                "`models` must be names of the zoo, or functions that take `seed` and return an "
                f"Autoencoder. Received: {model!r}"
            )
        if label is None:
            # Only a model tells its name; this one is not trained, as each seed makes its own.
            label = model if isinstance(model, str) else make(seed=0).name
        if label in makers:
            raise ValueError(
                f"`models` must be a dict from labels where names repeat. Received: {label!r} twice"
            )
        makers[label] = make
    if not makers:
        raise ValueError(f"`models` must hold at least one model. Received: {models!r}")
    return makers


def _train(model, fitted, seconds, batch_size) -> dict:
    """Epochs begun and seconds taken."""
    data = fitted.inputs()
    options = {} if is_dataset(data) else {"batch_size": batch_size}
    # A closed form takes one epoch and refuses more; the others train until time is up.
    epochs = 1 if model.usual_epochs == 1 else ENDLESS
    begun = time.perf_counter()
    history = model.fit(data, epochs=epochs, verbose=0, callbacks=[TimeBudget(seconds)], **options)
    return {"epochs": len(history.epoch), "seconds": time.perf_counter() - begun}


def _measure(name, model, fitted, measured, samples, steps) -> dict:
    found = reconstruct_all({name: model}, measured, samples, (), steps)[name].figures()
    found |= sizes(model)
    if model.code_size is not None and fitted.labelled and measured.labelled:
        found |= code_figures(name, model, fitted, measured, None, steps)
    # PSNR has no column, as it is the MSE in other units; it is in the JSON.
    return {key: value for key, value in found.items() if key in (*COLUMNS, "psnr")}


def _text(key, value) -> str:
    if value is None:
        return "-"
    if key in COUNTS:
        return f"{value['mean']:,.0f}"
    if key in ("epochs", "seconds"):
        return f"{value['mean']:,.1f}"
    spread = f" ± {value['spread']:.1g}" if value["spread"] else ""
    return as_text(value["mean"]) + spread
