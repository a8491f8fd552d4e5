"""How far a few labels go: a frozen encoder, a fine-tuned one, and the same net untrained."""

from __future__ import annotations

import dataclasses

import numpy as np
from keras import ops

from aezoo.backends import keras_private
from aezoo.callbacks import inner_optimizer
from aezoo.data._load import labelled
from aezoo.inputs.annotations import NonNegative, Size, Sizes, checked
from aezoo.inputs.arrays import to_numpy
from aezoo.inputs.pixels import scale_pixels
from aezoo.layers.corruption import AffineCorruption
from aezoo.layers.seeds import Seeds
from aezoo.model_classes.autoencoder import Autoencoder
from aezoo.model_classes.pooling import Pooling, encoder_of
from aezoo.training.recipe import Augment
from aezoo.transfer._features import features
from aezoo.transfer._heads import classifier, copied, unfreeze
from aezoo.transfer._probes import probe

METHODS = (
    "raw pixels, linear probe",
    "PCA, linear probe",
    "linear probe",
    "fine-tuned",
    "random weights",
)


@dataclasses.dataclass
class LabelCurve:
    """What `label_curve` returns; prints as a table.

    Attributes:
        rows: One dict per method and number of labels: method, labels_per_class, accuracy
            (mean over the seeds), spread (their sample standard deviation, None of one
            seed), seeds.
    """

    rows: list[dict]

    def __str__(self) -> str:
        numbers = sorted({row["labels_per_class"] for row in self.rows})
        methods = list(dict.fromkeys(row["method"] for row in self.rows))
        lines = ["accuracy with".ljust(25) + "".join(f"{n:>5} per class" for n in numbers)]
        for method in methods:
            cells = {r["labels_per_class"]: r for r in self.rows if r["method"] == method}
            texts = [f"{cells[n]['accuracy']:.4f}{_behind(cells[n]['spread'])}" for n in numbers]
            lines.append(method.ljust(25) + "".join(f"{text:>15}" for text in texts))
        return "\n".join(lines)

    def figure(self):
        """Accuracy against the number of labels, as a matplotlib figure."""
        from aezoo.plots import label_curve as draw

        return draw(self.rows)


@checked
def label_curve(
    model,
    train,
    test,
    labels_per_class: Sizes = (10, 100),
    seeds: Size = 5,
    *,
    steps: Size = 300,
    learning_rate: NonNegative = 1e-3,
    pooling: Pooling = None,
    augment: Augment | None = None,
    progress=None,
) -> LabelCurve:
    """Accuracy with few labels: what the training without labels is worth.

    Each seed draws other labelled samples. Five rows: a logistic regression on the inputs as
    they are, one on PCA of the code's size, one on the frozen code, all three as in
    `linear_probe`, the encoder fine-tuned from there, and the same net from random weights,
    trained by the same recipe: the same number of steps, learning rate and augmentation. PCA
    and encoder have seen all training samples, without labels.

    A model that restores images moved by affine maps knows from its training what moves do not
    change. So that its advantage is not that of the moves alone, fine-tuning and random weights
    both learn from copies of the labelled images that are moved anew in every step, and the
    first head of the random weights is fitted to moved copies. Strongly moved copies take more
    steps to learn from than still images, and can cost fine-tuning accuracy on still ones:
    `augment=0` gives the accuracies without moves.

    Args:
        model: An `Autoencoder` or an encoder.
        train: As in `linear_probe`, but not a dataset.
        test: As `train`.
        labels_per_class: Numbers of labelled samples of each class.
        seeds: How many times everything is repeated.
        steps: Gradient steps of the fine-tuning, of at most 64 samples each.
        learning_rate: Of the fine-tuning.
        pooling: As in `features`.
        augment: Level of the affine maps, see `AffineCorruption`, that move labelled images
            in fine-tuning and in the training from random weights; 0 is none. None takes that of
            an `Autoencoder` with affine corruption, else 0.
        progress: None, or a function that is called with a text before each part.

    Returns:
        A `LabelCurve`.

    Raises:
        ValueError: if an argument is not of the kind above.

    Example:

    >>> model = aezoo.pca_ae((8, 8, 1), latent_dim=16)
    >>> history = model.fit(aezoo.data.load("digits"), verbose=0)
    >>> curve = aezoo.transfer.label_curve(model, "digits", "digits", (5,), seeds=1, steps=2)
    >>> for row in curve.rows:
    ...     print(row["method"])
    raw pixels, linear probe
    PCA, linear probe
    linear probe
    fine-tuned
    random weights
    """
    if progress is not None and not callable(progress):
        raise ValueError(f"`progress` must be None or a function. Received: {progress!r}")
    augment = _level(model, augment)
    x, y = _arrays(train, "train")
    test_x, test_y = _arrays(test, "test")
    say = progress or (lambda text: None)
    classes, y = np.unique(y, return_inverse=True)
    unknown = np.setdiff1d(test_y, classes)
    if len(unknown):
        raise ValueError(
            "`test` must have labels of `train` alone. "
            f"Received: {', '.join(map(str, unknown[:5]))}, which `train` does not have"
        )
    test_y = np.searchsorted(classes, test_y)
    _check_enough(classes, y, labels_per_class)
    say("features")
    encoder = encoder_of(model)
    # Frozen features do not depend on the labels drawn, so they are computed once.
    codes = [features(encoder, part, pooling=pooling) for part in (x, test_x)]
    frozen = {
        "raw pixels, linear probe": [part.reshape(len(part), -1) for part in (x, test_x)],
        "PCA, linear probe": pca(x, test_x, codes[0].shape[1]),
        "linear probe": codes,
    }
    # One net for all runs, so that its step is compiled once: each run sets its weights anew, and
    # `_train` the state of the optimizer. Batch normalisations learn, as random weights need it.
    network = classifier(
        encoder, len(classes), freeze=False, pooling=pooling, learning_rate=learning_rate, seed=0
    )
    unfreeze(network, learning_rate=learning_rate, batch_normalization=True)
    trained, rows = encoder.get_weights(), []
    for number in labels_per_class:
        found = {method: [] for method in METHODS}
        for seed in range(seeds):
            say(f"{number} labels per class, seed {seed + 1} of {seeds}")
            chosen = _draw(y, number, seed)
            labelled_x, labels = x[chosen], y[chosen]
            # "linear probe" comes last in `frozen`: `first` is then the head of the fine-tuned net.
            for method, (vectors, test_vectors) in frozen.items():
                first = probe(vectors[chosen], labels, test_vectors, test_y)
                found[method].append(first.accuracy)
            for method, weights in (
                ("fine-tuned", trained),
                ("random weights", copied(encoder, Seeds(seed)).get_weights()),
            ):
                network.get_layer("encoder").set_weights(weights)
                if method == "random weights":
                    # A random encoder has no probe yet. Only its fitted head is needed, so one test
                    # sample is enough.
                    copies = _moving(augment, seed)(labelled_x)
                    parts = [features(network.get_layer("encoder"), part, pooling=pooling)
                             for part in (copies, test_x[:1])]  # fmt: skip
                    first = probe(parts[0], labels, parts[1], test_y[:1])
                _set_head(network, first.classifier)
                _train(network, labelled_x, labels, steps, seed, augment)
                found[method].append(
                    float((network.predict(test_x, 256, verbose=0).argmax(1) == test_y).mean())
                )
        for method, accuracies in found.items():
            rows.append(
                {
                    "method": method,
                    "labels_per_class": number,
                    "accuracy": float(np.mean(accuracies)),
                    "spread": sample_deviation(accuracies),
                    "seeds": seeds,
                }
            )
    return LabelCurve(rows)


def sample_deviation(values) -> float | None:
    """The sample standard deviation, which one value does not have."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def pca(x, test_x, size: int):
    """The first principal components of both, fitted on the first."""
    from aezoo.closed_form.pca import pca_ae

    shape = x.shape[1:]
    model = pca_ae(shape, min(size, int(np.prod(shape))), output_activation=None)
    model.fit(x, verbose=0)
    return [model.encode(part) for part in (x, test_x)]


def _behind(spread) -> str:
    return "" if spread is None else f" ±{spread:.3f}"


def _arrays(data, split):
    x, y = labelled(data, split)
    if y is None:
        raise ValueError(
            f"`{split}` must be (x, labels) or a source for a label curve. "
            f"Received: a {type(data).__name__}"
        )
    return x, y


def _check_enough(classes, y, numbers):
    fewest = np.bincount(y).min()
    if max(numbers) > fewest:
        raise ValueError(
            f"`labels_per_class` must be at most {fewest}, the samples of the smallest class. "
            f"Received: {max(numbers)}"
        )


def _draw(y, number, seed):
    """Indices of `number` samples of each class."""
    generator = np.random.default_rng(seed)
    return np.concatenate(
        [
            generator.choice(np.flatnonzero(y == label), number, replace=False)
            for label in range(y.max() + 1)
        ]
    )


def _set_head(network, fitted):
    """The head starts as the logistic regression, with its scaling folded in."""
    scaler, regression = fitted[0], fitted[-1]
    # coef (x - mean) / scale + intercept as one kernel and bias of x.
    kernel = regression.coef_ / scaler.scale_
    bias = regression.intercept_ - kernel @ scaler.mean_
    # scikit-learn has one row for two classes: softmax of (-a / 2, a / 2) is sigmoid(a).
    if len(kernel) == 1:
        kernel, bias = np.concatenate([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
    network.get_layer("output").set_weights([kernel.T, bias])


def _level(model, augment) -> float:
    """The level of the affine maps, which only images can undergo."""
    if augment is None:
        affine = isinstance(model, Autoencoder) and isinstance(model.corruption, AffineCorruption)
        return model.corruption.level if affine else 0.0
    shape = encoder_of(model).inputs[0].shape[1:]
    if augment and len(shape) != 3:
        raise ValueError(
            "`augment` must be 0 or None where samples are not images (height, width, channels). "
            f"Received: {augment!r} for samples of shape {tuple(shape)}"
        )
    return augment


def _moving(level: float, seed: int):
    """A function from images to copies under affine maps that are drawn again in each call."""
    if not level:
        return lambda x: x
    layer = AffineCorruption(level, seed=seed)
    return lambda x: to_numpy(layer.corrupt(scale_pixels(ops.convert_to_tensor(x))))


def _train(network, x, y, steps, seed, augment):
    """`steps` steps on 64 moved samples each, or on all; the learning rate decays to 0."""
    moved = _moving(augment, seed)
    # The moments and step count of the run before; the learning rate is among the variables too.
    optimizer = inner_optimizer(network.optimizer)
    for variable in optimizer.variables:
        if variable is not keras_private.learning_rate_variable(optimizer):
            variable.assign(np.zeros(variable.shape, variable.dtype))
    generator, peak = np.random.default_rng(seed), float(optimizer.learning_rate)
    size = min(64, len(x))
    for step in range(steps):
        optimizer.learning_rate = peak * (1 + np.cos(np.pi * step / steps)) / 2
        chosen = generator.choice(len(x), size, replace=False)
        network.train_on_batch(moved(x[chosen]), y[chosen])
    optimizer.learning_rate = peak
