"""What a simple classifier makes of frozen features."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
from threadpoolctl import threadpool_limits

from aezoo.data._load import labelled
from aezoo.inputs.arguments import check_number, check_positive_integer, check_seed
from aezoo.inputs.arrays import inputs_of, to_numpy
from aezoo.model_classes.pooling import encoder_of, pooled
from aezoo.transfer._features import features

REGULARIZATIONS = (0.001, 0.01, 0.1, 1.0, 10.0)
CHOICE_SAMPLES = 10_000  # maximum number that decides on the regularisation


@dataclasses.dataclass
class Probe:
    """What `linear_probe` and `knn` return.

    Attributes:
        accuracy: Share of the test samples whose class was found.
        classifier: The fitted scikit-learn classifier of features.
        regularization: `C` of the logistic regression; None for neighbours.
    """

    accuracy: float
    classifier: object
    regularization: float | None = None


def linear_probe(
    model,
    train,
    test,
    *,
    pooling: str | None = None,
    validation_split: float = 0.2,
    max_iterations: int = 1000,
    seed: int = 0,
) -> Probe:
    """Accuracy of a logistic regression on frozen features.

    The strength of the L2 penalty and the scaling of the features are chosen together on a
    validation split of the training samples, then all of them are fitted. Features are either
    divided by one common scale, which leaves strong directions strong, or each is standardised.
    Where there are too few samples to split, it is the common scale and C = 1.

    Args:
        model: As in `features`.
        train: (x, labels), a dataset of such batches, or a source of `aezoo.data.load`,
            whose training split is taken.
        test: The same for the accuracy; of a source the test split.
        pooling: As in `features`.
        validation_split: Share of the training samples that the penalty is chosen on.
        max_iterations: Of the solver.
        seed: Integer that fixes the split.

    Returns:
        A `Probe`.

    Raises:
        ValueError: if the model or the data is not of the kind above.

    Example:

    >>> model = aezoo.pca_ae((8, 8, 1), latent_dim=16)
    >>> history = model.fit(aezoo.data.load("digits"), verbose=0)
    >>> aezoo.transfer.linear_probe(model, "digits", "digits").accuracy > 0.9
    True
    """
    check_number("validation_split", validation_split, 0.01, 0.99)
    check_positive_integer("max_iterations", max_iterations)
    check_seed("seed", seed, optional=False)
    x, y = labelled_features(model, train, "train", pooling)
    test_x, test_y = labelled_features(model, test, "test", pooling)
    return probe(x, y, test_x, test_y, validation_split, max_iterations, seed)


def knn(model, train, test, *, neighbors: int = 10, pooling: str | None = None) -> Probe:
    """Accuracy of the nearest neighbours in feature space.

    Args:
        model: As in `features`.
        train: As in `linear_probe`.
        test: As in `linear_probe`.
        neighbors: How many vote.
        pooling: As in `features`.

    Returns:
        A `Probe`.

    Raises:
        ValueError: if the model or the data is not of the kind above.

    Example:

    >>> model = aezoo.pca_ae((8, 8, 1), latent_dim=16)
    >>> history = model.fit(aezoo.data.load("digits"), verbose=0)
    >>> aezoo.transfer.knn(model, "digits", "digits", neighbors=3).accuracy > 0.9
    True
    """
    check_positive_integer("neighbors", neighbors)
    x, y = labelled_features(model, train, "train", pooling)
    test_x, test_y = labelled_features(model, test, "test", pooling)
    return neighbour_probe(x, y, test_x, test_y, neighbors)


def neighbour_probe(x, y, test_x, test_y, neighbors: int = 10) -> Probe:
    """`knn` of features."""
    from sklearn.neighbors import KNeighborsClassifier

    found = KNeighborsClassifier(min(neighbors, len(x))).fit(x, y)
    return Probe(float(found.score(test_x, test_y)), found)


@threadpool_limits.wrap(limits=1)  # of several, each waits for the others on a busy machine
def probe(x, y, test_x, test_y, validation_split=0.2, max_iterations=1000, seed=0) -> Probe:
    """`linear_probe` of features."""
    from sklearn.model_selection import train_test_split

    classes, counts = np.unique(y, return_counts=True)
    held_out = max(int(len(y) * validation_split), len(classes))
    best = True, 1.0
    if counts.min() > 1 and len(y) - held_out >= len(classes):
        few = np.random.default_rng(seed).permutation(len(y))[:CHOICE_SAMPLES]
        few = few if len(np.unique(y[few])) == len(classes) else np.arange(len(y))
        stratify = y[few] if np.unique(y[few], return_counts=True)[1].min() > 1 else None
        parts = train_test_split(
            x[few], y[few], test_size=max(int(len(few) * validation_split), len(classes)),
            random_state=seed, stratify=stratify,
        )  # fmt: skip
        choices = list(itertools.product((True, False), REGULARIZATIONS))
        scores = [
            _logistic(parts[0], parts[2], *choice, max_iterations).score(parts[1], parts[3])
            for choice in choices
        ]
        best = choices[int(np.argmax(scores))]
    found = _logistic(x, y, *best, max_iterations)
    return Probe(float(found.score(test_x, test_y)), found, best[1])


def _logistic(x, y, common_scale, strength, max_iterations):
    """A fitted pipeline: features about their means, in units of one or of each one's deviation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(x)
    if common_scale:
        scaler.scale_ = np.full_like(scaler.scale_, math.sqrt(scaler.var_.mean()) or 1.0)
    regression = LogisticRegression(C=strength, max_iter=max_iterations)
    return make_pipeline(scaler, regression.fit(scaler.transform(x), y))


def labelled_features(model, data, split: str, pooling: str | None = None):
    """(features, labels) of (x, labels), of a dataset, or of the split of a source."""
    x, y = labelled(data, split)
    if y is not None:
        return features(model, x, pooling=pooling), y
    network, vectors, labels = pooled(encoder_of(model), pooling), [], []
    for batch in x:  # once: a shuffled dataset has another order the next time
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            raise ValueError(
                "`train` and `test` must hold labels: a dataset of (x, labels). "
                f"Received: batches of a {type(batch).__name__}"
            )
        vectors.append(network.predict_on_batch(inputs_of(batch)))
        labels.append(to_numpy(batch[1]))
    return np.concatenate(vectors), np.concatenate(labels)
