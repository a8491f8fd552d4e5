"""How the steps of a model run: on which backend, on how many replicas, in what blocks."""

from __future__ import annotations

import contextlib
import logging

import keras

from aezoo.backends.workers import Alone
from aezoo.inputs.arguments import check_choice
from aezoo.inputs.arrays import is_array, is_dataset
from aezoo.inputs.training_data import BatchCheck


@contextlib.contextmanager
def keeping_variables(model):
    """Restores the variables of a model after an error in its first step, which Keras would lose.

    While it loops over batches on JAX, Keras takes the values out of the variables and puts back
    those that a finished step returned.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    variables = [*model.variables, *model.metrics_variables]
    if getattr(model, "optimizer", None) is not None:
        variables += model.optimizer.variables
    # References suffice: arrays of JAX do not change, and the error that matters here, in tracing
    # or compiling, comes before their memory is donated to the step.
    kept = [(variable, variable.value) for variable in variables]
    try:
        yield
    except BaseException:
        # Ctrl-C as well, as the first step is compiled, which can take long.
        for variable, value in kept:
            # After an error in a later step Keras itself puts back newer values than these.
            if _is_lost(variable):
                variable.assign(value)
        raise


def _is_lost(variable) -> bool:
    try:
        return variable.value is None
    except TypeError:
        # Keras calls the initializer of a variable without a value, which it has not kept.
        return True


@contextlib.contextmanager
def without_retracing_warnings():
    """Hides a warning of retracing, which the first `predict` of several models sets off."""
    logger = logging.getLogger("tensorflow")
    logger.addFilter(_is_other)
    try:
        yield
    finally:
        logger.removeFilter(_is_other)


def _is_other(record) -> bool:
    return "triggered tf.function retracing" not in record.getMessage()


def distribution_of(model):
    """The `Distribution` that a model was made under, or None."""
    if keras.backend.backend() != "tensorflow":
        return None
    # Here and below: on other backends TensorFlow may not be installed.
    from aezoo.backends.tensorflow_distribution import find

    return find(model)


def workers_of(model):
    """The processes that train a model; `Alone` if there is only this one."""
    return distribution_of(model) or Alone()


def workers_under(distribute: str | None):
    """The workers of a training under a strategy by its name, or `Alone` for None.

    Raises:
        ValueError: for another name, and if Keras does not run on TensorFlow.
    """
    if distribute is None:
        return Alone()
    check_choice("--distribute", distribute, ("mirrored", "multiworker"))
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`--distribute` must be left out where Keras does not run on TensorFlow. "
            f"Received: {distribute!r} on {keras.backend.backend()}"
        )
    from aezoo.backends.tensorflow_distribution import begin

    return begin(distribute)


def scope_of(model):
    """The scope in which variables of a model are made."""
    return workers_of(model).scope()


def blocks_of(model, data: dict):
    """A context manager of the arguments for `fit`, with many steps per call where possible."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext(data)
    distribution = distribution_of(model)
    if distribution is not None:
        return distribution.shares(model, data)
    from aezoo.backends.tensorflow_fused_steps import blocks

    return blocks(model, data)


def predict(network, x, batch_size: int):
    """The outputs of any network; under a strategy Keras's own `predict` needs all workers."""
    distribution = distribution_of(network)
    if distribution is not None:
        return distribution.predict(network, x, batch_size)
    with without_retracing_warnings():
        return network.predict(x, batch_size=batch_size, verbose=0)


def predict_on_batch(network, x):
    """The outputs of any network for one batch; under a strategy Keras repeats them per replica."""
    distribution = distribution_of(network)
    if distribution is not None:
        return distribution.predict_on_batch(network, x)
    return network.predict_on_batch(x)


def guarded(model, x):
    """The same data, which raise an error of one sentence at a batch that cannot be right.

    Arrays, and those behind `aezoo.data.load`, were checked completely before.
    """
    if is_dataset(x):
        from aezoo.backends.tensorflow_batches import guard, rows_of

        return x if rows_of(x) is not None else guard(x, BatchCheck(model))
    if is_array(x) or x is None:
        return x
    if isinstance(x, keras.utils.PyDataset):
        return CheckedBatches(x, BatchCheck(model))
    return _checked_one_by_one(x, BatchCheck(model))


def _checked_one_by_one(batches, check):
    for number, batch in enumerate(batches):
        check(batch, number)
        # Keras refuses a generator of bare arrays.
        yield batch if isinstance(batch, tuple) else (batch,)


class CheckedBatches(keras.utils.PyDataset):
    """A PyDataset whose batches are checked as they are read."""

    def __init__(self, batches, check):
        # Keras asks only the dataset that it is given for these settings.
        super().__init__(batches.workers, batches.use_multiprocessing, batches.max_queue_size)
        self.batches, self.check = batches, check

    def __len__(self):
        return len(self.batches)

    @property
    def num_batches(self):
        return self.batches.num_batches

    def __getitem__(self, index):
        batch = self.batches[index]
        self.check(batch, index)
        return batch

    def on_epoch_begin(self):
        self.batches.on_epoch_begin()

    def on_epoch_end(self):
        self.batches.on_epoch_end()
