"""What a step on one replica of a strategy knows of the others, on any backend."""

from __future__ import annotations

import contextlib
import threading

from keras import ops


class _OneReplica:
    """The communication between replicas if there is only one."""

    @staticmethod
    def all_reduce(tensor):
        return tensor

    all_gather = all_reduce

    @staticmethod
    def place(count):
        return 0, count


# A strategy runs each replica of a process in a thread of its own.
class _Step(threading.local):
    share, replicas = None, _OneReplica


_step = _Step()


@contextlib.contextmanager
def one_share(share, replicas):
    """A step on one replica, whose batch is `share` of the whole, in units of an equal share.

    `replicas` has the communication: `all_reduce`, `all_gather`, `place` and `is_first`.
    """
    _step.share, _step.replicas = share, replicas
    try:
        yield
    finally:
        _step.share, _step.replicas = None, _OneReplica


def weigh(loss):
    """The same loss, with a gradient that counts as much as this replica has of the batch."""
    share = _step.share
    if share is None:
        return loss
    share = ops.cast(share, loss.dtype)
    # Averaged over the replicas, gradients with these weights are that of the whole batch; the
    # value stays, as what is reported must not depend on the share.
    return share * loss + ops.stop_gradient((1 - share) * loss)


def sum_over_replicas(tensor):
    """The sum of what all replicas have, inside a step; elsewhere the tensor itself."""
    return _step.replicas.all_reduce(tensor)


def first_of_replicas(tensor):
    """What the first replica has, inside a step; elsewhere the tensor itself."""
    if _step.share is None:
        return tensor
    first = _step.replicas.is_first()
    # A sum in which all others are zero: inside a step a strategy can reduce, and not broadcast.
    return _step.replicas.all_reduce(ops.where(first, tensor, ops.zeros_like(tensor)))


def gather_over_replicas(tensor):
    """The rows that all replicas have, in their order, inside a step; elsewhere the tensor."""
    return _step.replicas.all_gather(tensor)


def place_in_batch(count):
    """(number of samples of the batch on earlier replicas, number on all together)."""
    return _step.replicas.place(count)
