"""What models and layers ask about strategies of TensorFlow, on any backend."""

from __future__ import annotations

import contextlib
import threading
import weakref

import keras
from keras import ops

from aezoo._arguments import check_choice
from aezoo._quiet import without_retracing_warnings
from aezoo._workers import Alone

_step = threading.local()  # each replica of a process runs in a thread of its own


def distribution_of(model):
    """The `aezoo._distribution.Distribution` that a model was made under, or None."""
    if keras.backend.backend() != "tensorflow":
        return None
    from aezoo._distribution import find

    return find(model)


def workers_of(model):
    """The processes that train a model; `Alone` where it is this one."""
    return distribution_of(model) or Alone()


def workers_under(distribute: str | None):
    """The workers of a training under a strategy by its name, or `Alone` for None.

    Raises:
        ValueError: for another name, and where Keras does not run on TensorFlow.
    """
    if distribute is None:
        return Alone()
    check_choice("--distribute", distribute, ("mirrored", "multiworker"))
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`--distribute` must be left out where Keras does not run on TensorFlow. "
            f"Received: {distribute!r} on {keras.backend.backend()}"
        )
    from aezoo._distribution import begin

    return begin(distribute)


def scope_of(model):
    """The scope in which variables of a model are made."""
    return workers_of(model).scope()


def blocks_of(model, data: dict):
    """A context of the arguments that `fit` runs on: many steps in one call, where it may."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext(data)
    distribution = distribution_of(model)
    if distribution is not None:
        return distribution.shares(model, data)
    from aezoo._fused import blocks

    return blocks(model, data)


def predict(network, x, batch_size: int):
    """The outputs of any network; Keras's own way with a strategy takes all workers."""
    distribution = distribution_of(network)
    if distribution is not None:
        return distribution.predict(network, x, batch_size)
    with without_retracing_warnings():
        return network.predict(x, batch_size=batch_size, verbose=0)


def predict_on_batch(network, x):
    """The outputs of any network for one batch; under a strategy Keras's come twice."""
    distribution = distribution_of(network)
    if distribution is not None:
        return distribution.predict_on_batch(network, x)
    return network.predict_on_batch(x)


@contextlib.contextmanager
def one_share(share):
    """A step on one replica, whose batch is this share of the whole, in units of an equal one."""
    _step.share, _step.penalties = share, []
    try:
        yield
    finally:
        _step.share = None


def add_loss(layer, value) -> None:
    """`layer.add_loss`, apart for each replica.

    Keras keeps the losses of a layer in one list, and the replicas of a process wait for each
    other in the middle of a step: one would clear what another has added, or count it as its own.
    """
    if getattr(_step, "share", None) is None:
        layer.add_loss(value)
    else:
        _step.penalties.append(value)


def added_losses() -> list:
    """What `add_loss` was given in this step of this replica."""
    return _step.penalties if getattr(_step, "share", None) is not None else []


def weigh(loss):
    """The loss itself, whose gradient counts as much as this replica has of the batch."""
    share = getattr(_step, "share", None)
    if share is None:
        return loss
    share = ops.cast(share, loss.dtype)
    return share * loss + ops.stop_gradient((1 - share) * loss)


def sum_over_replicas(tensor):
    """The sum of what all replicas have, inside a step; elsewhere the tensor itself."""
    if getattr(_step, "share", None) is None:
        return tensor
    from aezoo._distribution import all_reduce

    return all_reduce(tensor)


def first_of_replicas(tensor):
    """What the first replica has, inside a step; elsewhere the tensor itself."""
    if getattr(_step, "share", None) is None:
        return tensor
    from aezoo._distribution import all_reduce, is_first

    return all_reduce(ops.where(is_first(), tensor, ops.zeros_like(tensor)))


def gather_over_replicas(tensor):
    """The rows that all replicas have, in their order, inside a step; elsewhere the tensor."""
    if getattr(_step, "share", None) is None:
        return tensor
    from aezoo._distribution import all_gather

    return all_gather(tensor)


def place_in_batch(count):
    """(how many samples of the batch earlier replicas have, how many all have together)."""
    if getattr(_step, "share", None) is None:
        return 0, count
    from aezoo._distribution import place

    return place(count)


class OfReplica:
    """An attribute that every replica has for itself, such as what a layer tells a loss."""

    def __init__(self):
        self._here = threading.local()

    def __get__(self, instance, owner=None):
        return self if instance is None else self._values().get(instance)

    def __set__(self, instance, value):
        self._values()[instance] = value

    def _values(self):
        if not hasattr(self._here, "values"):
            self._here.values = weakref.WeakKeyDictionary()
        return self._here.values


class OnReplicas:
    """A Keras model whose steps run on all replicas and whose predictions run on one."""

    def make_train_function(self, force=False):
        distribution = distribution_of(self)
        if distribution is None:
            return super().make_train_function(force)
        if self.train_function is None or force:
            self.train_function = distribution.function(self, self.train_step)
        return self.train_function

    def make_test_function(self, force=False):
        distribution = distribution_of(self)
        if distribution is None:
            return super().make_test_function(force)
        if self.test_function is None or force:
            self.test_function = distribution.function(self, self.test_step)
        return self.test_function

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Keras's would reduce a batch of several replicas; `Distribution.shares` has built it."""
        if iterator is None or distribution_of(self) is None:
            super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)
