"""Private names of Keras that this package needs: each is used only here, with its reason.

Seen on Keras 3.15; `tests/test_keras_private.py` says what is expected of each.
"""

from __future__ import annotations

# The attribute behind the property `model` of a callback: every callback has it, so a search for
# models that a callback holds has to leave it out.
MODEL_OF_A_CALLBACK = "_model"


def all_layers(model) -> list:
    """The layers of a model and of the models inside it; `model.layers` has only the outermost."""
    return list(model._flatten_layers())


def make_variables(model, batch) -> None:
    """Makes the variables of metrics and optimizer for a batch of `KerasTensor`s.

    `fit` makes them in its first step, which a loop that is compiled as one function cannot do.
    """
    model._symbolic_build(data_batch=batch)


def scaled_for_replicas(model, term):
    """A term of the loss as Keras counts those of `add_loss`: summed, and scaled for replicas."""
    return model._aggregate_additional_loss(term)


def without_compiled_loss(model) -> None:
    """Tells Keras that the compiled loss needs no building, where an objective takes its place.

    Each `fit` would else take a batch from the data to build it with.
    """
    if model._compile_loss is not None:
        model._compile_loss.built = True


class MadeBefore:
    """A model whose variables Keras must not make itself if `has_its_variables` is true."""

    has_its_variables = False

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # From an iterator Keras reduces a batch over the replicas, which fails under
        # `MultiWorkerMirroredStrategy` (keras#20585).
        if iterator is None or not self.has_its_variables:
            super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)


def learning_rate_variable(optimizer):
    """The variable; `optimizer.learning_rate` is its value."""
    # The public property gives a tensor, which cannot be told from other variables or assigned to.
    return optimizer._learning_rate


def may_profile(tensorboard) -> bool:
    """Whether a `TensorBoard` callback was told to profile some of the batches."""
    # Another release of Keras may lack the attribute: then a profile cannot be ruled out.
    return getattr(tensorboard, "_should_trace", True)
