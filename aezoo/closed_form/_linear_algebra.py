"""The linear algebra of the closed forms: float64, from `Moments`."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits

from aezoo.closed_form._moments import FLOAT32, Moments

# Matrices up to this size are solved in one thread: with several threads, each waits for the others
# on a busy machine.
SMALL = 1024
# Relative to the largest eigenvalue: what float32 products cannot distinguish from 0.
TOLERANCE = FLOAT32


def principal_components(moments: Moments, size: int):
    """The leading eigenvectors of the features' covariance.

    Returns:
        Mean (features,), components (features, size) and variances (size,), largest
        first. Components beyond the rank of the data are 0. The largest entry of each
        component is positive.
    """
    mean = _means(moments)[0]
    # Sums of float64 data are more precise than float32, and rows (rounding 0) are exact. For both,
    # the limit is that of float64 itself, with the factor of `numpy.linalg.matrix_rank`.
    exact = max(moments.samples, moments.features) * np.finfo("float64").eps
    tolerance = moments.rounding if moments.rounding >= TOLERANCE else exact
    values, vectors = _eigenvectors(moments, min(size, moments.features), tolerance)[:2]
    values, vectors = values[::-1], vectors[:, ::-1]
    # The sign of an eigenvector is arbitrary. A fixed sign does not change with the solver, the
    # blocks or `partial_fit`, so that codes stay comparable.
    largest = np.abs(vectors).argmax(0)
    vectors = vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
    # With fewer directions than `size` the code keeps its size, and the rest of it is 0.
    missing = size - len(values)
    components = np.pad(vectors, [(0, 0), (0, missing)])
    return mean, components, np.pad(values, (0, missing)) / moments.samples


def ridge(moments: Moments, regularization: float | None = None):
    """Ridge regression of the targets on the features, with an intercept.

    Args:
        regularization: Added to the features' covariance, in units of its mean
            eigenvalue; None chooses it by generalised cross-validation (Golub, Heath,
            Wahba, 1979).

    Returns:
        Kernel (features, targets) and bias (targets,).
    """
    feature_mean, target_mean = _means(moments)
    if regularization is None or moments.few:
        kernel = _ridge_by_eigenvectors(moments, regularization)
    else:
        # A given strength needs no eigenvalues, and Cholesky takes a fraction of their time. The
        # floor keeps the matrix positive definite if features are collinear, and `or 1.0` if all of
        # them are constant.
        scale = np.trace(moments.products) / moments.features
        strength = max(regularization, TOLERANCE) * scale or 1.0
        matrix = moments.products + strength * np.eye(moments.features)
        kernel = scipy.linalg.solve(matrix, moments.cross, assume_a="pos", overwrite_a=True)
    return kernel, target_mean - feature_mean @ kernel


def linear_map(covariance, cross) -> np.ndarray:
    """The kernel of least norm that solves covariance @ kernel = cross."""
    # Not `solve`: pixels that are 0 in every sample leave the matrix singular, even with masking.
    values, vectors = _eigh(covariance)
    kept = values > TOLERANCE * values[-1]
    vectors = vectors[:, kept]
    return vectors @ ((vectors.T @ cross) / values[kept, None])


def _ridge_by_eigenvectors(moments, regularization):
    # With the eigenvectors, each strength that cross-validation tries costs one division.
    values, vectors, projected = _eigenvectors(moments)
    if regularization is None:
        strength = _cross_validated(moments, values, projected)
    else:
        strength = regularization * values.sum() / moments.features
    return vectors @ (projected / (values + strength)[:, None])


def _cross_validated(moments, values, projected) -> float:
    """The strength with the lowest generalised cross-validation error."""
    # Constant features: any strength will do, as there is nothing to shrink.
    if not len(values):
        return 1.0
    strengths = values[-1] * np.geomspace(TOLERANCE, 10, 100)[:, None]
    # With y the targets, u and s^2 the eigenvectors and eigenvalues of the products of samples,
    # `energy` is |u'y|^2, and strength k leaves the share k / (s^2 + k) of u'y as the residual.
    energy = np.square(projected).sum(1) / values
    shrunk = strengths / (values + strengths)
    # The intercept takes one of the n directions. Targets outside the span of the features stay as
    # a residual at any strength; rounding can make their difference negative.
    free = moments.samples - 1 - len(values)
    outside = max(_target_squares(moments) - energy.sum(), 0.0) if free > 0 else 0.0
    squares = outside + (energy * shrunk**2).sum(1)
    # GCV = |residual|^2 / (n - 1 - degrees of freedom)^2; the constant factor n is left out.
    return float(strengths[np.argmin(squares / (max(free, 0) + shrunk.sum(1)) ** 2), 0])


def _eigenvectors(moments, size: int | None = None, tolerance: float = TOLERANCE):
    """Eigenvalues of the centred products, ascending, vectors, and vectors' @ cross.

    Only eigenvalues that are not 0, and of these the last `size`.
    """
    if moments.few:
        # X X' is the smaller matrix and has the same eigenvalues as X'X; if X X' u = s^2 u, then
        # v = X'u / s. Centring leaves at least one s at 0, which `kept` drops before the division.
        features, targets = _centred_rows(moments)
        values, left = _eigh(features @ features.T)
    elif size is None:
        values, left = _eigh(moments.products)
    else:
        span = (moments.features - size, moments.features - 1)
        values, left = _eigh(moments.products, subset_by_index=span)
    # `tiny` drops the zeros of constant data too, whose largest eigenvalue is itself 0.
    kept = values > max(tolerance * values[-1], np.finfo("float64").tiny)
    # Without `max` the end would be negative and count from the other side: with fewer samples
    # than `size`, most components would be dropped.
    kept[: max(0, len(values) - (size or len(values)))] = False
    values, left = values[kept], left[:, kept]
    if not moments.few:
        return values, left, left.T @ moments.cross
    roots = np.sqrt(values)
    return values, features.T @ (left / roots), roots[:, None] * (left.T @ targets)


def _eigh(matrix, **options):
    """Eigenvalues in ascending order and eigenvectors; small matrices in one thread."""
    with threadpool_limits(1 if len(matrix) <= SMALL else None, "blas"):
        return scipy.linalg.eigh(matrix, **options)


def _centred_rows(moments):
    rows = (part.astype("float64") for part in moments.rows)
    return tuple(part - part.mean(0) for part in rows)


def _means(moments):
    if moments.few:
        return tuple(part.mean(0, dtype="float64") for part in moments.rows)
    return moments.feature_mean, moments.target_mean


def _target_squares(moments) -> float:
    return np.square(_centred_rows(moments)[1]).sum() if moments.few else moments.target_squares
