"""How well a simple classifier does on frozen features."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Annotated

import numpy as np
from annotated_types import Interval
from threadpoolctl import threadpool_limits

from aezoo.data._load import labelled
from aezoo.inputs.annotations import FixedSeed, Number, Size, checked
from aezoo.inputs.arrays import inputs_of, to_numpy
from aezoo.model_classes.pooling import Pooling, encoder_of, pooled
from aezoo.transfer._features import features

# Values of `C`, ascending: the first is the strongest penalty.
REGULARIZATIONS = (0.001, 0.01, 0.1, 1.0, 10.0)
# The maximum number of samples that decide on penalty and scaling: ten fits of all would be slow.
CHOICE_SAMPLES = 10_000


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


@checked
def linear_probe(
    model,
    train,
    test,
    *,
    pooling: Pooling = None,
    validation_split: Annotated[Number, Interval(ge=0.01, le=0.99)] = 0.2,
    max_iterations: Size = 1000,
    seed: FixedSeed = 0,
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
        test: The same for the accuracy; of a source, the test split is taken.
        pooling: As in `features`.
        validation_split: Share of the training samples that penalty and scaling are chosen on.
        max_iterations: Maximum number of iterations of the solver.
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
    x, y = labelled_features(model, train, "train", pooling)
    test_x, test_y = labelled_features(model, test, "test", pooling)
    return probe(x, y, test_x, test_y, validation_split, max_iterations, seed)


@checked
def knn(model, train, test, *, neighbors: Size = 10, pooling: Pooling = None) -> Probe:
    """Accuracy of the nearest neighbours in feature space.

    Args:
        model: As in `features`.
        train: As in `linear_probe`.
        test: As in `linear_probe`.
        neighbors: Number of neighbours that vote.
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
    x, y = labelled_features(model, train, "train", pooling)
    test_x, test_y = labelled_features(model, test, "test", pooling)
    return neighbour_probe(x, y, test_x, test_y, neighbors)


def neighbour_probe(x, y, test_x, test_y, neighbors: int = 10) -> Probe:
    """`knn` of features."""
    from sklearn.neighbors import KNeighborsClassifier

    found = KNeighborsClassifier(min(neighbors, len(x))).fit(x, y)
    return Probe(float(found.score(test_x, test_y)), found)


# Of several threads, each waits for the others on a busy machine.
@threadpool_limits.wrap(limits=1)
def probe(x, y, test_x, test_y, validation_split=0.2, max_iterations=1000, seed=0) -> Probe:
    """`linear_probe` of features."""
    from sklearn.model_selection import train_test_split

    classes, counts = np.unique(y, return_counts=True)
    held_out = max(int(len(y) * validation_split), len(classes))
    # Where nothing can be held out: the common scale. With one label per class, dividing each
    # component by its own deviation cost PCA 17 points on MNIST.
    best = True, 1.0
    if counts.min() > 1 and len(y) - held_out >= len(classes):
        few = np.random.default_rng(seed).permutation(len(y))[:CHOICE_SAMPLES]
        # A rare class may be missing in the subset, and each class must be seen in training.
        few = few if len(np.unique(y[few])) == len(classes) else np.arange(len(y))
        # Stratified where each class has a sample for both parts: `train_test_split` refuses
        # others, as it does a part with fewer samples than classes.
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
        # Of equal scores the first: the common scale, then the strongest penalty.
        best = choices[int(np.argmax(scores))]
    found = _logistic(x, y, *best, max_iterations)
    return Probe(float(found.score(test_x, test_y)), found, best[1])


def _logistic(x, y, common_scale, strength, max_iterations):
    """A fitted pipeline: features about their means, in units of one or of each one's deviation."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Both scalings are a `StandardScaler`, so that `label_curve` can fold either into a head.
    scaler = StandardScaler().fit(x)
    # One number for all features keeps their proportions, and makes `C` independent of units.
    if common_scale:
        scaler.scale_ = np.full_like(scaler.scale_, math.sqrt(scaler.var_.mean()) or 1.0)
    regression = LogisticRegression(C=strength, max_iter=max_iterations)
    return make_pipeline(scaler, regression.fit(scaler.transform(x), y))


def labelled_features(model, data, split: str, pooling: str | None = None):
    """(features, labels) from (x, labels), a dataset, or the split of a source."""
    x, y = labelled(data, split)
    if y is not None:
        return features(model, x, pooling=pooling), y
    network, vectors, labels = pooled(encoder_of(model), pooling), [], []
    # Features and labels in one pass: a shuffled dataset has another order the next time.
    for batch in x:
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            raise ValueError(
                "`train` and `test` must hold labels: a dataset of (x, labels). "
                f"Received: batches of a {type(batch).__name__}"
            )
        vectors.append(network.predict_on_batch(inputs_of(batch)))
        labels.append(to_numpy(batch[1]))
    return np.concatenate(vectors), np.concatenate(labels)
