"""What a step on one replica of a strategy knows of the others, on any backend."""

from __future__ import annotations

import contextlib
import threading
import weakref

from keras import ops


class _OneReplica:
    """The ways between replicas where there is one."""

    @staticmethod
    def all_reduce(tensor):
        return tensor

    all_gather = all_reduce

    @staticmethod
    def place(count):
        return 0, count


class _Step(threading.local):  # each replica of a process runs in a thread of its own
    share, replicas, penalties = None, _OneReplica, ()


_step = _Step()


@contextlib.contextmanager
def one_share(share, replicas):
    """A step on one replica, whose batch is this share of the whole, in units of an equal one.

    `replicas` has the ways between them: `all_reduce`, `all_gather`, `place` and `is_first`.
    """
    _step.share, _step.replicas, _step.penalties = share, replicas, []
    try:
        yield
    finally:
        _step.share, _step.replicas, _step.penalties = None, _OneReplica, ()


def add_loss(layer, value) -> None:
    """`layer.add_loss`, apart for each replica.

    Keras keeps the losses of a layer in one list, and the replicas of a process wait for each
    other in the middle of a step: one would clear what another has added, or count it as its own.
    """
    if _step.share is None:
        layer.add_loss(value)
    else:
        _step.penalties.append(value)


def added_losses() -> list:
    """What `add_loss` was given in this step of this replica."""
    return list(_step.penalties)


def weigh(loss):
    """The loss itself, whose gradient counts as much as this replica has of the batch."""
    share = _step.share
    if share is None:
        return loss
    share = ops.cast(share, loss.dtype)
    return share * loss + ops.stop_gradient((1 - share) * loss)


def sum_over_replicas(tensor):
    """The sum of what all replicas have, inside a step; elsewhere the tensor itself."""
    return _step.replicas.all_reduce(tensor)


def first_of_replicas(tensor):
    """What the first replica has, inside a step; elsewhere the tensor itself."""
    if _step.share is None:
        return tensor
    first = _step.replicas.is_first()
    return _step.replicas.all_reduce(ops.where(first, tensor, ops.zeros_like(tensor)))


def gather_over_replicas(tensor):
    """The rows that all replicas have, in their order, inside a step; elsewhere the tensor."""
    return _step.replicas.all_gather(tensor)


def place_in_batch(count):
    """(how many samples of the batch earlier replicas have, how many all have together)."""
    return _step.replicas.place(count)


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
