"""The names that Keras keeps to itself and this package needs: each is here alone, with a reason.

Seen on Keras 3.15; `tests/test_keras_private.py` says what is expected of each.
"""

from __future__ import annotations

MODEL_OF_A_CALLBACK = "_model"  # its attribute behind the property `model`


def all_layers(model) -> list:
    """The layers of a model and of the models inside it; `model.layers` has the outermost alone."""
    return list(model._flatten_layers())


def make_variables(model, batch) -> None:
    """Makes the variables of metrics and optimizer for a batch of `KerasTensor`s.

    `fit` makes them in its first step, which a loop that is compiled as one function cannot do.
    """
    model._symbolic_build(data_batch=batch)


class MadeBefore:
    """A model whose variables Keras shall not make itself where `has_its_variables` is true."""

    has_its_variables = False

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        if iterator is None or not self.has_its_variables:
            super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)


def learning_rate_variable(optimizer):
    """The variable; `optimizer.learning_rate` is its value."""
    return optimizer._learning_rate


def may_profile(tensorboard) -> bool:
    """Whether a `TensorBoard` callback was told to profile some of the batches."""
    return getattr(tensorboard, "_should_trace", True)
