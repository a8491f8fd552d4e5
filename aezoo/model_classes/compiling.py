"""Optimizers and losses that a model is compiled with."""

from __future__ import annotations

import keras

from aezoo.callbacks import inner_optimizer
from aezoo.inputs.arguments import check_number


def new_optimizer(optimizer, learning_rate):
    """A new optimizer each time: one that two models share breaks the second."""
    if learning_rate is not None:
        check_number("learning_rate", learning_rate, 0)
    changes = {} if learning_rate is None else {"learning_rate": learning_rate}
    optimizer = inner_optimizer(optimizer)  # `compile` wraps it again
    try:
        if isinstance(optimizer, str):
            return keras.optimizers.get({"class_name": optimizer, "config": changes})
        # The configuration has the hyperparameters and none of the state of another training.
        return type(optimizer).from_config({**optimizer.get_config(), **changes})
    except (AttributeError, TypeError, ValueError):
        raise ValueError(
            "`optimizer` must be the name of a Keras optimizer, such as 'adam', or a "
            f"keras.optimizers.Optimizer. Received: {optimizer!r}"
        ) from None


def check_loss(loss) -> None:
    try:
        keras.losses.get(loss)
    except (TypeError, ValueError):
        raise ValueError(
            "`loss` must be a Keras loss, such as 'mse' or 'binary_crossentropy'. "
            f"Received: {loss!r}"
        ) from None
