"""`impute`: missing values become what the model reconstructs from the known ones."""

from __future__ import annotations

import numpy as np

from aezoo.inputs.annotations import NonNegative, Size, checked
from aezoo.inputs.arrays import as_array, batches, is_array, to_numpy
from aezoo.inputs.pixels import scale_pixels
from aezoo.inputs.training_data import check_inputs, check_values
from aezoo.model_classes.reconstruction_model import ReconstructionModel


@checked
def impute(
    model: ReconstructionModel,
    x,
    mask,
    *,
    iterations: Size = 5,
    tolerance: NonNegative = 1e-3,
    batch_size: Size = 256,
) -> np.ndarray:
    """`x` with its missing values filled by iterating the reconstruction.

    Missing values start at the mean of the samples in which they are known; then they become
    what the model reconstructs there, again and again, while the known values stay.

    Args:
        model: An `Autoencoder` that was trained on complete samples.
        x: Array (samples, *input_shape), pixels or floats. Its values where `mask` is True are
            ignored, and may be NaN.
        mask: Boolean array of the shape of `x`, or of one sample, True where a value is
            missing.
        iterations: Maximum number of passes. Few are better: the last ones follow the noise of
            the known values.
        tolerance: A sample is done when none of its missing values changes by more than this.
        batch_size: How many samples go through at once.

    Returns:
        Array like `x`, float: pixels in [0, 1].

    Raises:
        ValueError: if an argument is not of the kind above, or known values are not finite.

    Example:

    >>> x = aezoo.data.arrays("digits")
    >>> model = aezoo.pca_ae((8, 8, 1), 16)
    >>> history = model.fit(x, verbose=0)
    >>> missing = np.random.default_rng(0).random(x.shape) < 0.2
    >>> filled = aezoo.impute(model, x, missing)
    >>> mean = (x / 255).mean(0)
    >>> error = np.square(filled - x / 255)[missing].mean()
    >>> bool(error < 0.5 * np.square(mean - x / 255)[missing].mean())
    True
    """
    if not isinstance(model, ReconstructionModel) or len(model.inputs) > 1:
        raise ValueError(
            f"`model` must be an Autoencoder that takes inputs alone. Received: {model!r}"
        )
    x = as_array(x)
    if not is_array(x):
        raise ValueError(f"`x` must be an array. Received: a {type(x).__name__}")
    check_inputs(x, model.inputs[0].shape[1:], "`x`")
    # A copy: arrays from JAX are read-only, and a tensor of torch may share the memory of `x`.
    filled = to_numpy(scale_pixels(x)).copy()
    mask = _check_mask(mask, filled.shape)
    filled[mask] = np.broadcast_to(_means(filled, mask), filled.shape)[mask]
    # What is not finite now is a known value: missing ones have been replaced.
    check_values(filled, -np.inf, np.inf, "`x` without its missing values")
    left = np.flatnonzero(mask.reshape(len(mask), -1).any(1))
    # For PCA these are alternating projections: onto the components, and onto the known values.
    # They end at the least-squares fit to the known values alone, noise included.
    for _ in range(iterations):
        if not len(left):
            break
        # Only samples that still change go through the net again.
        before = filled[left]
        outputs = [model.predict_on_batch(batch) for batch in batches(before, batch_size)]
        after = np.where(mask[left], np.concatenate(outputs), before)
        filled[left] = after
        changes = np.abs(after - before).reshape(len(left), -1).max(1)
        left = left[changes > tolerance]
    return filled


def _means(x, mask) -> np.ndarray:
    """The mean of each element over the samples that have it; of all, where none has."""
    known = ~mask
    # `where` and not a product: NaN times 0 is NaN.
    values = np.where(known, x, 0)
    overall = values.sum() / max(known.sum(), 1)
    counts = known.sum(0)
    return np.where(counts > 0, values.sum(0) / np.maximum(counts, 1), overall)


def _check_mask(mask, shape) -> np.ndarray:
    mask = to_numpy(as_array(mask))
    if mask.dtype != bool or mask.shape not in (shape, shape[1:]):
        raise ValueError(
            f"`mask` must be a boolean array of shape {shape} or {shape[1:]}, True where a value "
            f"is missing. Received: {mask.dtype} of shape {mask.shape}"
        )
    return np.broadcast_to(mask, shape)
