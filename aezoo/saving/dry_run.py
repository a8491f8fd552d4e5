"""How large a model would be, found out without any of its memory."""

from __future__ import annotations

import math
import os
import threading

import keras
import numpy as np

from aezoo.backends import keras_private


def sizes_of(build) -> list[tuple[str, tuple[int, ...]]]:
    """The path and shape of each array that what `build()` returns would hold.

    Keras leaves variables without values in a stateless scope, and in `compute_output_spec`
    computes shapes alone, so a layer of 10^12 weights costs nothing. It happens in a thread of
    its own: Keras keeps names and the variables that wait for a value by thread.

    Args:
        build: A function without arguments that makes a model, or a list of layers and metrics,
            and no optimizer: its variables have values at once.

    Raises:
        Exception: what `build` raised.
    """
    found: list[tuple[str, tuple[int, ...]]] = []
    errors: list[BaseException] = []

    def call(x):
        try:
            for part in keras.tree.flatten(build()):
                found.extend(_arrays(part))
        except Exception as error:
            errors.append(error)
        return x

    def work():
        trial = keras.Operation()
        trial.call = call
        try:
            with keras.StatelessScope(initialize_variables=False):
                trial.compute_output_spec(keras.KerasTensor((1,)))
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return found


def _arrays(part):
    for variable in getattr(part, "variables", ()):
        yield variable.path, tuple(variable.shape)
    if isinstance(part, keras.Layer):
        for layer in keras_private.all_layers(part):
            for name, value in vars(layer).items():
                if isinstance(value, keras.Variable):
                    continue
                if isinstance(value, np.ndarray) or keras.ops.is_tensor(value):
                    yield f"{layer.path}/{name}", tuple(size or 1 for size in value.shape)


def memory() -> float:
    """The bytes of memory that the machine has; infinite where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # on Windows
        return math.inf
