"""The learning-rate schedule of the recipe, and optimizers that change it."""

from __future__ import annotations

import keras

from aezoo.backends.engine import scope_of
from aezoo.callbacks import inner_optimizer


def begin_schedule(model, training, epochs, warmup):
    """A new optimizer with the schedule; returns the peak learning rate and the steps."""
    steps = int(training.cardinality())
    config = inner_optimizer(model.optimizer).get_config()
    if isinstance(config.get("learning_rate"), dict):
        return None, steps
    peak = float(config["learning_rate"])
    total = max(1, steps * epochs)
    rising = int(total * warmup)
    schedule = keras.optimizers.schedules.CosineDecay(
        peak if rising == 0 else peak / rising,
        max(1, total - rising),
        warmup_target=peak if rising else None,
        warmup_steps=rising,
    )
    compile_again(model, schedule, keep_state=False)
    return peak, steps


def compile_again(model, learning_rate, *, keep_state: bool) -> None:
    """Compiles with another learning rate or schedule, as it cannot be set back later."""
    config = model.get_compile_config()
    config["optimizer"]["config"]["learning_rate"] = (
        keras.saving.serialize_keras_object(learning_rate)
        if isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule)
        else learning_rate
    )
    state = _state(model.optimizer)
    model.compile_from_config(config)
    if keep_state:
        fresh = _state(
            model.optimizer
        )  # of a closed form: fewer, as it needs none before fine_tune
        _assign(fresh, state[: len(fresh)])


def _state(optimizer):
    return [variable for variable in optimizer.variables if variable.name != "learning_rate"]


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def take_state(model, checkpoint) -> None:
    """Weights and optimizer of a checkpoint into the model that goes on."""
    if [w.shape for w in model.weights] != [w.shape for w in checkpoint.weights]:
        raise ValueError(
            "`model` must be the one that the run in `out` began with. "
            f"Received: {model.name}, whose weights have other shapes"
        )
    model.set_weights(checkpoint.get_weights())
    with scope_of(model):
        model.optimizer.build(model.trainable_variables)
    _assign(_state(model.optimizer), _state(checkpoint.optimizer))
