"""Terms that layers add to the loss, weighed as samples are, and graphs that do without them."""

from __future__ import annotations

import contextlib
import contextvars

import keras
from keras import ops

from aezoo.backends.replica_step import add_loss, sum_over_replicas

_reporting = contextvars.ContextVar("reporting", default=True)
_weights = contextvars.ContextVar("weights", default=None)


def add_penalty(layer, values, scale=1.0) -> None:
    """Adds `scale` times the mean of `values` (batch,) to the loss, weighed by `sample_weight`.

    It is taken in the dtype of the loss, whatever the layer computes in.
    """
    values, weights = ops.cast(values, keras.config.floatx()), _weights.get()
    add_loss(layer, scale * ops.mean(values if weights is None else values * weights))


def add_batch_penalty(layer, value) -> None:
    """Adds a number that is of the batch as a whole, times the mean weight of its samples."""
    value = ops.cast(value, keras.config.floatx())
    weights = _weights.get()
    add_loss(layer, value if weights is None else value * _batch_mean(weights, None))


def batch_mean(values):
    """The mean over the samples of a batch (batch, ...), by weight and over all replicas.

    Samples of more weight count for more in it, as if there were more of them.
    """
    return _batch_mean(values, _weights.get())


def batch_weights():
    """The weights (batch,) of the samples of this step, or None."""
    return _weights.get()


def _batch_mean(values, weights):
    if weights is None:
        total, count = ops.sum(values, 0), ops.cast(ops.shape(values)[0], values.dtype)
    else:
        weights = ops.cast(weights, values.dtype)
        total = ops.tensordot(weights, values, 1)
        count = ops.sum(weights)
    return sum_over_replicas(total) / ops.maximum(sum_over_replicas(count), 1e-12)


@contextlib.contextmanager
def weighing_samples(weights):
    """The penalties of the calls inside are weighed by `sample_weight`, one or more per sample."""
    if weights is not None:
        weights = ops.cast(weights, keras.config.floatx())
        weights = ops.mean(ops.reshape(weights, (ops.shape(weights)[0], -1)), -1)
    token = _weights.set(weights)
    try:
        yield
    finally:
        _weights.reset(token)


def reporting() -> bool:
    """Whether layers add losses and update metrics, besides giving outputs."""
    return _reporting.get()


@contextlib.contextmanager
def outputs_alone():
    """Calls inside compute what outputs need and nothing else: no losses, metrics or draws."""
    token = _reporting.set(False)
    try:
        yield
    finally:
        _reporting.reset(token)
