"""The learning-rate schedule of the recipe, and optimizers that change it."""

from __future__ import annotations

import keras

from aezoo.backends.engine import scope_of
from aezoo.callbacks import inner_optimizer

UNKNOWN = -2  # `tf.data.UNKNOWN_CARDINALITY`


def begin_schedule(model, training, epochs, warmup):
    """Compiles with the schedule; returns its peak rate, or None, and the steps per epoch."""
    steps = int(training.cardinality())
    if steps == UNKNOWN:  # as of a dataset behind `filter`; the schedule needs the number
        steps = sum(1 for _ in training)
    # Under mixed_float16 Keras wraps the optimizer in one that scales the loss and has no rate.
    config = inner_optimizer(model.optimizer).get_config()
    # A schedule is a dict in the config; the user's own stays.
    if isinstance(config.get("learning_rate"), dict):
        return None, steps
    peak = float(config["learning_rate"])
    total = max(1, steps * epochs)
    rising = int(total * warmup)
    # Keras rises linearly from the first argument to `warmup_target`; from 0 the first step would
    # change nothing, so it begins at the first of `rising` equal rises.
    schedule = keras.optimizers.schedules.CosineDecay(
        peak if rising == 0 else peak / rising,
        max(1, total - rising),
        warmup_target=peak if rising else None,
        warmup_steps=rising,
    )
    compile_again(model, schedule, keep_state=False)
    return peak, steps


def compile_again(model, learning_rate, *, keep_state: bool) -> None:
    """Compiles again with another learning rate or schedule."""
    # Keras refuses to set the rate of an optimizer that was made with a schedule, so a new one is
    # made from the config.
    config = model.get_compile_config()
    config["optimizer"]["config"]["learning_rate"] = (
        keras.saving.serialize_keras_object(learning_rate)
        if isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule)
        else learning_rate
    )
    state = _state(model.optimizer)
    model.compile_from_config(config)
    if keep_state:
        # A closed form has fewer of them, as it needs none before `fine_tune`.
        fresh = _state(model.optimizer)
        _assign(fresh, state[: len(fresh)])


def _state(optimizer):
    # Only an optimizer without a schedule has its rate as a variable, so that without this one the
    # variables before and after are the same.
    return [variable for variable in optimizer.variables if variable.name != "learning_rate"]


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def take_state(model, checkpoint) -> None:
    """Puts weights and optimizer of a checkpoint into the model that continues."""
    if [w.shape for w in model.weights] != [w.shape for w in checkpoint.weights]:
        raise ValueError(
            "`model` must be the one that the run in `out` began with. "
            f"Received: {model.name}, whose weights have other shapes"
        )
    model.set_weights(checkpoint.get_weights())
    # An optimizer makes its moments at its first step; they are made here, to be filled.
    with scope_of(model):
        model.optimizer.build(model.trainable_variables)
    _assign(_state(model.optimizer), _state(checkpoint.optimizer))
