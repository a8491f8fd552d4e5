"""What layers tell the step that they run in: terms of the loss, tensors, values of metrics.

In a step of `fit` or `evaluate` a model collects all of these, and returns them next to the
reconstruction as further outputs of its call. Thus losses and metrics get tensors, on every backend
and replica, and no layer keeps one. Outside such a step, as in a Keras model of another class, a
layer adds its terms with `add_loss` and updates its metrics itself, except on JAX, where they stay
at 0.
"""

from __future__ import annotations

import contextlib
import contextvars

import keras
from keras import ops

from aezoo.backends.replica_step import sum_over_replicas

# Context variables rather than attributes: each replica of a process runs in a thread of its own,
# and each thread has its own values.
_reporting = contextvars.ContextVar("reporting", default=True)
_weights = contextvars.ContextVar("weights", default=None)
_stepping = contextvars.ContextVar("stepping", default=False)
_drawing = contextvars.ContextVar("drawing", default=False)
_outputs = contextvars.ContextVar("outputs", default=None)


@contextlib.contextmanager
def _holding(variable, value):
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def add_penalty(layer, values, scale=1.0) -> None:
    """Adds `scale` times the mean of `values` (batch,) to the loss, weighted by `sample_weight`.

    It is computed in the dtype of the loss, whatever the dtype of the layer is.
    """
    values, weights = ops.cast(values, keras.config.floatx()), _weights.get()
    _add(layer, scale * ops.mean(values if weights is None else values * weights))


def add_batch_penalty(layer, value) -> None:
    """Adds a number of the whole batch to the loss, times the mean weight of its samples."""
    value = ops.cast(value, keras.config.floatx())
    weights = _weights.get()
    _add(layer, value if weights is None else value * _batch_mean(weights, None))


def _add(layer, value):
    outputs = _outputs.get()
    if outputs is None:
        layer.add_loss(value)
    else:
        # Not `add_loss`, which keeps the losses of a layer in one list: replicas wait for each
        # other in the middle of a step, and one would clear what another has added.
        outputs.setdefault("penalties", []).append(value)


def hand_over(**tensors) -> None:
    """Passes tensors to the objective of the model in a step; elsewhere they are dropped."""
    outputs = _outputs.get()
    if outputs is not None:
        outputs.update(tensors)


def handed_over(name: str):
    """The tensor of that name which a layer handed over in this call of the model, or None."""
    return (_outputs.get() or {}).get(name)


def report(metric, *values) -> None:
    """Updates a metric of a layer: at the end of the step, or at once outside of one."""
    outputs = _outputs.get()
    if outputs is not None:
        outputs.setdefault("metrics", {}).setdefault(id(metric), []).append(values)
    elif keras.backend.backend() != "jax":
        # There Keras takes the values out of the metrics while a model of another class trains.
        metric.update_state(*values)


@contextlib.contextmanager
def collecting():
    """A dict of all that the layers of the calls inside report, add and hand over."""
    outputs: dict = {}
    with _holding(_outputs, outputs):
        yield outputs


def batch_mean(values):
    """The weighted mean over the samples of a batch (batch, ...), of all replicas together.

    A sample of more weight counts as if there were more of it.
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
    # The quotient of two sums, not a mean of means: replicas may have shares of unequal size, or no
    # sample at all.
    return sum_over_replicas(total) / ops.maximum(sum_over_replicas(count), 1e-12)


@contextlib.contextmanager
def one_step(weights, drawing: bool = False):
    """A step of `fit` or `evaluate`: the call of the model inside collects (`collects`).

    Args:
        weights: The sample weights, or None.
        drawing: Whether layers draw outside of training, as in an evaluation.
    """
    with weighing_samples(weights), _holding(_stepping, True), _holding(_drawing, drawing):
        yield


def collects() -> bool:
    """Whether a model that is called now collects: the outermost one in a step does."""
    return _stepping.get() and _outputs.get() is None


@contextlib.contextmanager
def weighing_samples(weights):
    """The penalties of the calls inside are weighted by `sample_weight`, one or more per sample."""
    if weights is not None:
        weights = ops.cast(weights, keras.config.floatx())
        weights = ops.mean(ops.reshape(weights, (ops.shape(weights)[0], -1)), -1)
    with _holding(_weights, weights):
        yield


def drawing():
    """Calls inside draw codes and masks as an evaluation does."""
    return _holding(_drawing, True)


def draws() -> bool:
    """Whether layers draw outside of training."""
    return _drawing.get()


def reporting() -> bool:
    """Whether layers add losses and update metrics, in addition to giving outputs."""
    return _reporting.get()


def outputs_alone():
    """Calls inside compute only what outputs need: no losses, metrics or draws."""
    return _holding(_reporting, False)
