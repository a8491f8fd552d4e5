"""The pictures of a report card, each under a heading, several models side by side."""

from __future__ import annotations

import dataclasses

import numpy as np

import aezoo.plots as plots
from aezoo.plots._samples import is_image

SIZE = 0.42  # inches of a sample: eight of them and a label fill the width of a phone
COLUMNS = 8
# The error of a code that holds everything is that of rounding.
EXACT = 1e-9


@dataclasses.dataclass
class Picture:
    """A matplotlib figure, its caption, whether it shows images, and PNGs of it."""

    figure: object
    caption: str
    of_images: bool = False
    drawn: dict = dataclasses.field(default_factory=dict)


def draw_all(card) -> dict[str, list[Picture]]:
    """From heading to pictures."""
    kept = card.material
    coded = [name for name, model in kept.models.items() if model.code_size is not None]
    headings = {
        "Reconstructions": [_reconstructions(kept)],
        # `compared` has the models alone, `models` their PCAs too.
        "Worst and best": [_extremes(kept, name) for name in kept.compared],
        "Errors": [*_errors(card)],
        "Codes in two dimensions": [_map(kept, name) for name in coded],
        "Along the strongest directions of the code": [
            _traversals(kept, name) for name in kept.compared if name in coded
        ],
        "Training": _training(kept),
    }
    return {heading: pictures for heading, pictures in headings.items() if pictures}


def _reconstructions(kept):
    x = kept.samples.x
    # Evenly spread: data in the order of their classes begin with one class.
    few = x[np.linspace(0, len(x) - 1, min(COLUMNS, len(x))).astype(int)]
    figure = plots.reconstructions(kept.models, few, size=SIZE)
    return Picture(figure, "Samples of the test data, and their reconstructions.", _images(x))


def _extremes(kept, name):
    found, pca = kept.reconstructions[name], kept.compared[name]
    x = np.concatenate([found.worst, found.best])
    models = {key: kept.models[key] for key in (name, pca) if key is not None}
    figure = plots.worst_and_best(models, x, COLUMNS, size=SIZE)
    return Picture(figure, f"The samples that {name} reconstructs worst and best.", _images(x))


def _errors(card):
    kept = card.material
    errors = {name: found.errors for name, found in kept.reconstructions.items()}
    # On a logarithmic axis errors of rounding would push all others into a corner.
    exact = [name for name, values in errors.items() if values.mean() < EXACT]
    lossy = {name: values for name, values in errors.items() if name not in exact}
    left_out = f" {' and '.join(exact)} loses nothing, and is left out." if exact else ""
    yield Picture(
        plots.error_histogram(lossy or errors),
        f"How the errors of the samples are spread; left is better.{left_out}",
    )
    noise = {
        name: {0.0: figures["mse"]} | {float(k): v for k, v in figures["noise"].items()}
        for name, figures in card.columns.items()
    }
    # Noise of level 0 alone is no curve.
    if len(next(iter(noise.values()))) > 1:
        yield Picture(
            plots.noise_curve(noise),
            "Error against the clean sample where gaussian noise was added to the input"
            + (", in standard deviations of the data." if card.about["noise_unit"] != 1 else "."),
        )
    scores = {
        name: figures["one_class_auroc"]["by_class"]
        for name, figures in card.columns.items()
        if "one_class_auroc" in figures
    }
    if scores:
        yield Picture(
            plots.class_scores(scores),
            "How well the Mahalanobis distance of a code from the mean of a class tells that class "
            "from the rest; the model has seen all classes.",
        )


def _map(kept, name):
    model, x, labels = kept.models[name], kept.samples.x, kept.samples.labels
    figure = plots.code_map(model.encode(x), labels, name)
    # `code_map` shows codes of two values without a projection.
    flat = model.code_size <= 2
    how = "as they are" if flat else "by t-SNE: neighbours stay together, distances mean nothing"
    return Picture(figure, f"{len(x):,} codes {how}.")


def _traversals(kept, name):
    figure = plots.traversals(kept.models[name], kept.samples.x, size=SIZE)
    caption = (
        f"{name}: up to three standard deviations on either side of the most typical sample, with "
        "the share of the codes' variance that lies along each direction."
    )
    return Picture(figure, caption, _images(kept.samples.x))


def _training(kept):
    if not kept.histories:
        return []
    figure = plots.learning_curves(kept.histories)
    validated = any("val_loss" in columns for columns in kept.histories.values())
    dashed = "; dashed: on validation data" if validated else ""
    return [Picture(figure, f"Mean squared error in training{dashed}.")]


def _images(x) -> bool:
    return is_image(x.shape[1:])
