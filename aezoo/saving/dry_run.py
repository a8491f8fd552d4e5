"""How large a model would be, found without allocating its memory."""

from __future__ import annotations

import math
import os
import threading

import keras
import numpy as np

from aezoo.backends import keras_private


def sizes_of(build) -> list[tuple[str, tuple[int, ...]]]:
    """The path and shape of each array that the result of `build()` would hold.

    Keras leaves variables without values in a stateless scope, and `compute_output_spec` computes
    shapes alone, so a layer of 10^12 weights costs nothing.

    Args:
        build: A function without arguments that makes a model, or a list of layers and metrics,
            but no optimizer, whose variables get values at once.

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
            # Raised further, it would come back as an error about output shapes.
            errors.append(error)
        return x

    def work():
        trial = keras.Operation()
        trial.call = call
        try:
            # `compute_output_spec` opens a scope too, which would give the variables values at its
            # end, but only the outermost scope does that.
            with keras.StatelessScope(initialize_variables=False):
                trial.compute_output_spec(keras.KerasTensor((1,)))
        except Exception as error:
            errors.append(error)

    # In a thread of its own, as Keras keeps the names of layers and the list of variables that
    # wait for a value per thread.
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
            # Layers such as Normalization keep arrays that are not variables; they may be as large.
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
