"""Sums over samples, from which closed forms are solved: exact to add, to merge and to save."""

from __future__ import annotations

import itertools
import os

import keras
import numpy as np
from keras import ops

from aezoo.inputs.arrays import to_numpy

FLOAT32 = float(np.finfo("float32").eps)
# In columns: wide enough for fast products, narrow enough to save up to half of them by symmetry.
PANEL = 256


class Moments:
    """Means and centred second moments of features, and of features with targets.

    Compiled steps form float32 products of one block, centred at the block's own mean; here
    they are summed in float64. While there are no more samples than features, the rows themselves
    are kept: they take less memory, and the dual problem is solved from them.

    Attributes:
        samples: Number of samples, n.
        feature_mean, target_mean: Means, (features,) and (targets,).
        products: Sum of (f - mean) (f - mean)', (features, features).
        cross: Sum of (f - mean) (t - mean)', (features, targets). Without targets, where the
            features are their own, it is empty, like the other sums of targets.
        target_squares: Sum of the squares of (t - mean).
        rows: (features, targets) of all samples while n <= features, else None.
        rounding: Rounding error of the products relative to the largest; 0 while there are none.
    """

    NAMES = ("feature_mean", "target_mean", "products", "cross", "target_squares")

    def __init__(self, features: int, targets: int = 0):
        self.samples = 0
        self.features, self.targets = features, targets
        self.rows = (np.empty((0, features), "f"), np.empty((0, targets), "f"))
        self.rounding = 0.0

    @property
    def few(self) -> bool:
        """Whether the rows are kept, and the dual problem is solved."""
        return self.rows is not None

    def add_rows(self, features, targets=None) -> None:
        """Adds samples given as rows; products take their place when there are many."""
        features = _at_least_float32(features)
        targets = features[:, :0] if targets is None else _at_least_float32(targets)
        # Up to n = features, the rows take less memory than the products, and the dual problem is
        # smaller.
        if not self.few or self.samples + len(features) > self.features:
            self._leave_rows()
            self._add_products(features, targets)
            return
        self.rows = tuple(
            np.concatenate([kept, new])
            for kept, new in zip(self.rows, (features, targets), strict=True)
        )
        self.samples += len(features)

    def _add_products(self, features, targets):
        """Adds the products of rows, in the precision of the rows."""
        if features.dtype != np.float64:
            products = block_products(*map(ops.convert_to_tensor, (features, targets)))
            self.add_block(*map(to_numpy, products))
            return
        # In NumPy, because Keras on JAX would turn float64 into float32.
        targets = targets.astype("float64")
        means = features.mean(0), targets.mean(0)
        features, targets = features - means[0], targets - means[1]
        parts = (features.T @ features, features.T @ targets, np.square(targets).sum())
        self.add_block(len(features), *means, *parts)

    def add_block(self, samples, feature_mean, target_mean, products, cross, target_squares):
        """Adds the products of one block that `block_products` made (Chan et al., 1979)."""
        self._leave_rows()
        # From the dtype in which the products were formed, before they become float64.
        self.rounding = max(self.rounding, float(np.finfo(np.asarray(products).dtype).eps))
        new = [np.asarray(part, "float64") for part in (feature_mean, target_mean)]
        samples = int(samples)
        # A NaN or infinity in any feature is in the products too, so one check is enough.
        if not np.isfinite(products).all():
            raise ValueError("Input must be finite. Received: NaN or infinity")
        total = self.samples + samples
        # (n1 n2 / n) d d', with d the difference of the means, turns products that are centred at
        # two means into products at the common one; for the first block it is 0.
        share = self.samples * samples / total
        shift, target_shift = new[0] - self.feature_mean, new[1] - self.target_mean
        self.products += products
        self.cross += cross
        self.target_squares += float(target_squares) + share * float(target_shift @ target_shift)
        if share:
            self.products += np.outer(share * shift, shift)
            self.cross += np.outer(share * shift, target_shift)
        self.feature_mean += shift * (samples / total)
        self.target_mean += target_shift * (samples / total)
        self.samples = total

    def merge(self, other: Moments) -> None:
        """Adds the samples of other sums, as if they had been added here."""
        if (self.features, self.targets) != (other.features, other.targets):
            raise ValueError(
                f"`other` must hold sums of {self.features} features and {self.targets} targets. "
                f"Received: {other.features} and {other.targets}"
            )
        if other.few:
            if other.samples:
                self.add_rows(*other.rows)
            return
        # Rows can be added to products, but not the other way round: first the products of `other`.
        if self.few:
            rows, self.rows, self.samples = self.rows, None, 0
            self._zero()
            self._add_sums(other)
            if len(rows[0]):
                self.add_rows(*rows)
            return
        self._add_sums(other)

    def state(self) -> dict[str, np.ndarray]:
        """The sums as arrays by name, which `from_state` takes."""
        shape = np.array([self.samples, self.features, self.targets])
        if self.few:
            return {"shape": shape, "feature_rows": self.rows[0], "target_rows": self.rows[1]}
        sums = {name: np.asarray(getattr(self, name)) for name in self.NAMES}
        return {"shape": shape, "rounding": np.array(self.rounding), **sums}

    @classmethod
    def from_state(cls, state) -> Moments:
        samples, features, targets = (int(part) for part in np.asarray(state["shape"]))
        moments = cls(features, targets)
        moments.samples = samples
        if "feature_rows" in state:
            moments.rows = tuple(np.asarray(state[key]) for key in ("feature_rows", "target_rows"))
            return moments
        moments.rows = None
        for name in cls.NAMES:
            setattr(moments, name, np.array(state[name], "float64"))
        moments.target_squares = float(moments.target_squares)
        known = "rounding" in state  # not in files of 0.1.0, whose sums are those of float32
        moments.rounding = float(np.asarray(state["rounding"] if known else FLOAT32))
        return moments

    def many(self) -> Moments:
        """The same sums as products, for solutions that have no dual form."""
        if not self.few:
            return self
        many = Moments(self.features, self.targets)
        many.merge(self)
        many._leave_rows()
        return many

    def _add_sums(self, other):
        # `add_block` sees float64 arrays and cannot know in which dtype they were formed.
        self.add_block(other.samples, *(getattr(other, name) for name in self.NAMES))
        self.rounding = max(self.rounding, other.rounding)

    def _leave_rows(self):
        """Switches from rows to products."""
        if not self.few:
            return
        # Before the rows are dropped, so that an error loses nothing.
        check_memory(self.features, self.targets)
        rows, self.rows, self.samples = self.rows, None, 0
        self._zero()
        if len(rows[0]):
            self._add_products(*rows)

    def _zero(self):
        self.feature_mean, self.target_mean = np.zeros(self.features), np.zeros(self.targets)
        self.products = np.zeros((self.features, self.features))
        self.cross = np.zeros((self.features, self.targets))
        self.target_squares = 0.0


def _at_least_float32(rows) -> np.ndarray:
    rows = np.asarray(rows)
    return rows if rows.dtype == np.float64 else rows.astype("float32", copy=False)


def check_memory(features: int, targets: int) -> None:
    """Refuses sums that do not fit into this machine's memory, before they are allocated."""
    # float64 three times: the sums, those of a block, and the solution.
    needed = 3 * 8 * features * (features + targets)
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        # Not on Windows, which has no `sysconf`.
        return
    if needed > memory:
        raise ValueError(
            f"The products of {features} features must fit into memory, "
            f"{memory / 2**30:.0f} GiB; take smaller inputs, fewer features, or no more samples "
            f"than features. Received: {needed / 2**30:.0f} GiB of products"
        )


def block_products(features, targets=None):
    """The sums of one block in the order of `Moments.add_block`, as tensors of any backend."""
    targets = features[:, :0] if targets is None else targets
    samples = ops.shape(features)[0]
    feature_mean, target_mean = _mean(features), _mean(targets)
    features, targets = features - feature_mean, targets - target_mean
    # For data far from 0 the mean is rounded; the rest of it is subtracted from the products.
    rest, target_rest = _mean(features), _mean(targets)
    count = ops.cast(samples, features.dtype)
    return (
        samples,
        feature_mean + rest,
        target_mean + target_rest,
        _gram(features) - ops.outer(count * rest, rest),
        ops.transpose(features) @ targets - ops.outer(count * rest, target_rest),
        ops.sum(targets * targets) - count * ops.sum(target_rest * target_rest),
    )


def _mean(rows):
    """The mean of the rows as a product, which is faster than a reduction of columns."""
    weights = ops.ones_like(rows[:, :1]) / ops.cast(ops.shape(rows)[0], rows.dtype)
    return ops.reshape(ops.transpose(weights) @ rows, (rows.shape[1],))


def _gram(rows):
    """rows' @ rows by panels of columns, each times those from it on; the rest is mirrored."""
    size = rows.shape[1]
    edges = [size * i // max(1, size // PANEL) for i in range(max(1, size // PANEL) + 1)]
    done = []
    for first, last in itertools.pairwise(edges):
        right = ops.transpose(rows[:, first:last]) @ rows[:, first:]
        done.append(
            ops.concatenate([*(ops.transpose(row[:, first:last]) for row in done), right], 1)
        )
    return ops.concatenate(done, 0)


class BlockProducts(keras.layers.Layer):
    """`block_products` as a layer, so that Keras compiles it on every backend."""

    def call(self, inputs):
        return block_products(*inputs)

    def compute_output_spec(self, inputs):
        # Without targets an empty slice of the features takes their place, as in `block_products`.
        features, targets = [tensor.shape[1] for tensor in (*inputs, inputs[0][:, :0])][:2]
        shapes = [(), (features,), (targets,), (features, features), (features, targets), ()]
        return [keras.KerasTensor(shape, "float32") for shape in shapes]
