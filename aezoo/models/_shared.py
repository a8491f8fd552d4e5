"""The arguments that every factory takes, described once."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from typing import Annotated, Literal, TypedDict

import keras
from pydantic import BeforeValidator, SkipValidation

from aezoo.inputs.annotations import Flag, NonNegative, hints_of, plain

SHARED = "shared"  # the name of `**shared` in a factory


def _jit(value):
    if value != "auto" and not isinstance(value, bool):
        raise ValueError
    return value


Weights = Annotated[str | os.PathLike[str] | None, SkipValidation]
Optimizer = Annotated[str | keras.optimizers.Optimizer, SkipValidation]
Loss = Annotated[str | Callable | None, SkipValidation]
Jit = Annotated[bool | Literal["auto"], BeforeValidator(_jit), "one of 'auto', True, False"]


class Shared(TypedDict, total=False):
    """The arguments behind `**shared` in a factory; they are passed on to `aezoo.autoencoder`.

    Args:
        weights: None, the tag of pretrained weights (`aezoo.list_weights` lists them), a folder
            of `aezoo.save_pretrained`, or the path of a `.weights.h5` or `.keras` file.
        optimizer: Name of a Keras optimizer, or an optimizer, which is copied.
        loss: Keras loss of (clean input, reconstruction); None is "mse".
        learning_rate: None means the usual rate of the model for an optimizer given by name, and
            otherwise the optimizer's own rate.
        jit_compile: True, False, or "auto", which chooses when `fit` knows the data.
        compile: False returns the model without optimizer and loss.
        name: Name of the model.
    """

    weights: Weights
    optimizer: Optimizer
    loss: Loss
    learning_rate: NonNegative | None
    jit_compile: Jit
    compile: Flag
    name: str


DEFAULTS = {
    "weights": None,
    "optimizer": "adam",
    "loss": None,
    "learning_rate": None,
    "jit_compile": "auto",
    "compile": True,
}


def complete_hints(factory) -> dict[str, object]:
    """The annotations of all arguments of a factory, including the shared ones."""
    try:
        hints = hints_of(factory)
    except NameError:  # a user's factory, with annotations that are imported for type checkers only
        return {}
    shared = hints_of(Shared) if hints.pop(SHARED, None) is not None else {}
    return {**shared, **hints}


def complete_signature(factory, hints: dict) -> inspect.Signature:
    """The signature of a factory with the shared arguments, from its `complete_hints`."""
    parameters = dict(inspect.signature(factory).parameters)
    if parameters.pop(SHARED, None) is not None:
        for key, default in {**DEFAULTS, "name": factory.__name__}.items():
            by_name = inspect.Parameter.KEYWORD_ONLY
            parameters.setdefault(key, inspect.Parameter(key, by_name, default=default))
    shown = [
        each.replace(annotation=plain(hints.get(key, each.annotation)))
        for key, each in parameters.items()
    ]
    return inspect.Signature(shown)


def complete_docstring(factory) -> str | None:
    """The docstring of a factory, with the texts of the shared arguments after its own."""
    text = inspect.getdoc(factory)
    if not text or SHARED not in inspect.signature(factory).parameters:
        return text
    own = _entries(text)
    missing = [entry for key, entry in _entries(inspect.getdoc(Shared)).items() if key not in own]
    last = next(reversed(own.values()))
    return text.replace(last, last + "".join(missing), 1)


def _entries(docstring: str) -> dict[str, str]:
    """From argument to its lines in the `Args:` section of a docstring."""
    section = re.search(r"^Args:\n((?:    .*\n?)+)", docstring, re.MULTILINE)[1]
    found = re.findall(r"^(    (\w+): .*\n?(?:        .*\n?)*)", section, re.MULTILINE)
    return {key: lines.rstrip("\n") + "\n" for lines, key in found}
