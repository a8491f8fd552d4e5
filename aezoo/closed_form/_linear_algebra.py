"""The linear algebra of the closed forms: float64, from `Moments`."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from threadpoolctl import threadpool_limits

from aezoo.closed_form._moments import FLOAT32, Moments

SMALL = 1024
TOLERANCE = FLOAT32  # what float32 products cannot tell from 0


def principal_components(moments: Moments, size: int):
    """The leading eigenvectors of the features' covariance.

    Returns:
        Mean (features,), components (features, size) and variances (size,), largest
        first. Directions that the data do not have are 0. The largest entry of each
        component is positive.
    """
    mean = _means(moments)[0]
    exact = max(moments.samples, moments.features) * np.finfo("float64").eps
    tolerance = moments.rounding if moments.rounding >= TOLERANCE else exact
    values, vectors = _eigenvectors(moments, min(size, moments.features), tolerance)[:2]
    values, vectors = values[::-1], vectors[:, ::-1]
    largest = np.abs(vectors).argmax(0)
    vectors = vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])])
    missing = size - len(values)
    components = np.pad(vectors, [(0, 0), (0, missing)])
    return mean, components, np.pad(values, (0, missing)) / moments.samples


def ridge(moments: Moments, regularization: float | None = None):
    """Ridge regression of the targets on the features, with an intercept.

    Args:
        regularization: Added to the features' covariance, in units of its mean
            eigenvalue; None is chosen by generalised cross-validation (Golub, Heath,
            Wahba, 1979).

    Returns:
        Kernel (features, targets) and bias (targets,).
    """
    feature_mean, target_mean = _means(moments)
    if regularization is None or moments.few:
        kernel = _ridge_by_eigenvectors(moments, regularization)
    else:
        scale = np.trace(moments.products) / moments.features
        strength = max(regularization, TOLERANCE) * scale or 1.0
        matrix = moments.products + strength * np.eye(moments.features)
        kernel = scipy.linalg.solve(matrix, moments.cross, assume_a="pos", overwrite_a=True)
    return kernel, target_mean - feature_mean @ kernel


def linear_map(covariance, cross) -> np.ndarray:
    """The kernel of least norm that solves covariance @ kernel = cross."""
    values, vectors = _eigh(covariance)
    kept = values > TOLERANCE * values[-1]
    vectors = vectors[:, kept]
    return vectors @ ((vectors.T @ cross) / values[kept, None])


def _ridge_by_eigenvectors(moments, regularization):
    values, vectors, projected = _eigenvectors(moments)
    if regularization is None:
        strength = _cross_validated(moments, values, projected)
    else:
        strength = regularization * values.sum() / moments.features
    return vectors @ (projected / (values + strength)[:, None])


def _cross_validated(moments, values, projected) -> float:
    """The strength of least generalised cross-validation error."""
    if not len(values):
        return 1.0
    strengths = values[-1] * np.geomspace(TOLERANCE, 10, 100)[:, None]
    energy = np.square(projected).sum(1) / values
    shrunk = strengths / (values + strengths)
    free = moments.samples - 1 - len(values)  # directions that no feature reaches
    outside = max(_target_squares(moments) - energy.sum(), 0.0) if free > 0 else 0.0
    squares = outside + (energy * shrunk**2).sum(1)
    return float(strengths[np.argmin(squares / (max(free, 0) + shrunk.sum(1)) ** 2), 0])


def _eigenvectors(moments, size: int | None = None, tolerance: float = TOLERANCE):
    """Eigenvalues of the centred products, ascending, vectors, and vectors' @ cross.

    Only those that the data have, and of these the last `size`.
    """
    if moments.few:
        features, targets = _centred_rows(moments)
        values, left = _eigh(features @ features.T)
    elif size is None:
        values, left = _eigh(moments.products)
    else:
        span = (moments.features - size, moments.features - 1)
        values, left = _eigh(moments.products, subset_by_index=span)
    kept = values > max(tolerance * values[-1], np.finfo("float64").tiny)
    kept[: max(0, len(values) - (size or len(values)))] = False
    values, left = values[kept], left[:, kept]
    if not moments.few:
        return values, left, left.T @ moments.cross
    roots = np.sqrt(values)
    return values, features.T @ (left / roots), roots[:, None] * (left.T @ targets)


def _eigh(matrix, **options):
    """Small ones in one thread: of several, each waits for the others on a busy machine."""
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
