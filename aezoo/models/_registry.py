"""The register of the zoo: a factory is known by the name of its function."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import re
from collections.abc import Callable
from fnmatch import fnmatchcase

import keras
import numpy as np

from aezoo.inputs.arguments import check_flag, check_text, is_integer, shortened, unknown_model
from aezoo.saving.dry_run import memory, sizes_of
from aezoo.saving.pretrained import (
    PARAMETERS,
    check_fits,
    find_folder,
    load_pretrained,
    merged_arguments,
    read_card,
)

_OUT_OF_MEMORY = re.compile("ResourceExhausted|RESOURCE_EXHAUSTED|MemoryError|[Oo]ut of memory")
_FACTORIES: dict[str, Callable] = {}


def register(factory: Callable) -> Callable:
    """Adds a factory to the zoo under its own name.

    Where `weights` is a tag or a folder of pretrained weights, their card gives the
    arguments. The models that it returns remember the call that made them, as
    `model.recipe` (`{"model": name, "arguments": {...}}`), so that a run folder can tell it.
    """
    signature = inspect.signature(factory)
    name = factory.__name__
    PARAMETERS[name] = signature.parameters

    @functools.wraps(factory)
    def build(*args, **kwargs):
        given = dict(signature.bind_partial(*args, **kwargs).arguments)
        _check_scalars(given)
        folder = find_folder(name, given.get("weights"))
        if folder is not None:
            given = merged_arguments(name, read_card(folder), given, signature.parameters)
        if _is_large(given):
            _check_size(factory, given, folder)
        try:
            model = factory(**given) if folder is not None else factory(*args, **kwargs)
        except Exception as error:  # each backend has its own for memory
            if not _OUT_OF_MEMORY.search(f"{type(error).__name__} {error}"):
                raise
            raise _too_large(given, "the memory that is free") from error
        if folder is not None:
            load_pretrained(model, folder)
        model.recipe = {"model": name, "arguments": given}
        return model

    _FACTORIES[name] = build
    return build


def _is_large(given) -> bool:
    """Whether the sizes among the arguments could make a model of more than 2^24 weights or so."""
    values = keras.tree.flatten([value for key, value in given.items() if key != "seed"])
    shape = given.get("input_shape")
    with contextlib.suppress(TypeError):
        values.append(math.prod(shape))
    return sum(value for value in values if is_integer(value) and value > 0) > 2**12


def _check_size(factory, given, folder) -> None:
    """Refuses a model that is larger than the memory, or than the pretrained weights it is of.

    Such a process would take gigabytes until it is killed. What else may be wrong with the
    arguments is said when the model is made.
    """
    seed = given.get("seed") or 0  # None would be drawn, and nothing is computed here
    arguments = {**given, "weights": None, "compile": False, "seed": seed}
    try:
        needed = sizes_of(lambda: factory(**arguments))
    except Exception:
        return
    if folder is not None:
        check_fits(needed, folder)
    copies = 3 if given.get("compile", True) else 1  # the optimizer has two for each weight
    weights = sum(math.prod(shape) for _, shape in needed)
    if 4 * copies * weights > memory():
        raise _too_large(given, f"the memory, {memory() / 2**30:.0f} GiB, for {weights:,} weights")


def _too_large(given, what) -> ValueError:
    sizes = {
        key: value
        for key, value in given.items()
        if any(map(is_integer, keras.tree.flatten(value)))
    }
    text = shortened(", ".join(f"{key}={value!r}" for key, value in sizes.items()), 300)
    return ValueError(f"The sizes of a model must fit into {what}. Received: {text}")


def _check_scalars(given) -> None:
    """No argument of a factory is an array, and `compile` is no text that is true."""
    for key, value in given.items():
        if hasattr(value, "__array__") and np.ndim(value):
            raise ValueError(f"`{key}` must not be an array. Received: {value!r}")
    check_flag("compile", given.get("compile", True))


def list_models(pattern: str = "*") -> list[str]:
    """The names of the models in the zoo, sorted.

    Args:
        pattern: A shell-style wildcard that the names must match.

    Example:

    >>> aezoo.list_models("*conv*")
    ['conv_ae']
    """
    check_text("pattern", pattern)
    return sorted(name for name in _FACTORIES if fnmatchcase(name, pattern))


def get_factory(name: str) -> Callable:
    """The factory of that name; a ValueError names the nearest ones."""
    if not isinstance(name, str) or name not in _FACTORIES:
        raise unknown_model(name, list_models())
    return _FACTORIES[name]


def create(name: str, *args, **kwargs):
    """Makes a model of the zoo by its name.

    Args:
        name: One of `list_models()`.
        *args: Given to the factory.
        **kwargs: Given to the factory.

    Returns:
        A compiled `Autoencoder`.

    Raises:
        ValueError: if there is no such model; the sentence names the nearest.

    Example:

    >>> aezoo.create("dense_ae", (64,), 8).encoder.output_shape
    (None, 8)
    """
    return get_factory(name)(*args, **kwargs)
