"""What Keras's training loop on JAX leaves to do."""

import contextlib

import keras


@contextlib.contextmanager
def keeping_variables(model):
    """An error in the first step leaves the model its variables, which Keras would lose.

    While it loops over batches on JAX, Keras takes the values out of the variables and
    returns those that a finished step gave.
    """
    if keras.backend.backend() != "jax":
        yield
        return
    variables = [*model.variables, *model.metrics_variables]
    if getattr(model, "optimizer", None) is not None:
        variables += model.optimizer.variables
    kept = [(variable, variable.value) for variable in variables]
    try:
        yield
    except BaseException:
        for variable, value in kept:
            if _is_lost(variable):
                variable.assign(value)
        raise


def _is_lost(variable) -> bool:
    try:
        return variable.value is None
    except TypeError:  # there is no initializer to call any more
        return True
