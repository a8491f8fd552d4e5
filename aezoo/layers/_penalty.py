"""Terms that layers add to the loss, and graphs that do without them."""

import contextlib
import contextvars

import keras
from keras import ops

_reporting = contextvars.ContextVar("reporting", default=True)


def add_penalty(layer, value) -> None:
    """`layer.add_loss` in the dtype of the loss, whatever the layer computes in."""
    layer.add_loss(ops.cast(value, keras.config.floatx()))


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
