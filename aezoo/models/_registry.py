"""The registry of the zoo: a factory is registered under the name of its function."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
import re
import warnings
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import ParamSpec, TypeVar

import keras
import numpy as np

from aezoo.inputs.annotations import validated
from aezoo.inputs.arguments import check_text, is_integer, nearest, shortened, unknown_model
from aezoo.models._shared import (
    SHARED,
    complete_docstring,
    complete_hints,
    complete_signature,
)
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
P = ParamSpec("P")
Model = TypeVar("Model")


def register(factory: Callable[P, Model]) -> Callable[P, Model]:
    """Adds a factory to the zoo under its own name.

    Each call is checked against the annotations of the factory (see `aezoo.inputs.annotations`).
    `**shared` in its signature stands for the arguments that every model takes
    (`aezoo.models._shared.Shared`); they are passed on to `autoencoder`. If `weights` is a tag or a
    folder of pretrained weights, their card gives the arguments. Each model stores the call that
    made it as `model.recipe` (`{"model": name, "arguments": {...}}`), so that a run folder can
    record it.
    """
    name, own = factory.__name__, inspect.signature(factory).parameters
    hints = complete_hints(factory)
    signature = complete_signature(factory, hints)
    PARAMETERS[name] = signature.parameters
    defaults = {}  # validated too: an annotation turns "clip" into a function
    if SHARED in own:
        defaults = {key: each.default for key, each in signature.parameters.items()}

    @functools.wraps(factory)
    def build(*args, **kwargs):
        args, kwargs = _by_name(signature, name, args, kwargs)
        try:
            given = dict(signature.bind_partial(*args, **kwargs).arguments)
        except TypeError as error:
            unknown = next((key for key in kwargs if key not in signature.parameters), "")
            raise TypeError(f"{name}() {error}{nearest(unknown, list(own))}") from None
        for key, value in given.items():
            # Comparing with an array gives an array, which the checks below cannot handle.
            if hasattr(value, "__array__") and np.ndim(value):
                raise ValueError(f"`{key}` must not be an array. Received: {value!r}")
        folder = find_folder(name, given.get("weights"))
        if folder is not None:
            given = merged_arguments(name, read_card(folder), given, signature.parameters)
        elif SHARED in own and "input_shape" not in given:
            raise ValueError(
                "`input_shape` must be given, such as (28, 28, 1), unless `weights` are pretrained "
                "ones. Received: no input_shape"
            )
        arguments = validated(hints, {**defaults, **given})
        # The dry run takes as long as building the model, so it is made for large models only.
        if _is_large(arguments):
            _check_size(factory, arguments, folder)
        try:
            model = factory(**arguments)
        except Exception as error:  # each backend has its own error for memory
            if not _OUT_OF_MEMORY.search(f"{type(error).__name__} {error}"):
                raise
            raise _too_large(given, "the memory that is free") from error
        if folder is not None:
            load_pretrained(model, folder)
        model.recipe = {"model": name, "arguments": given}
        return model

    build.__signature__, build.__doc__ = signature, complete_docstring(factory)
    _FACTORIES[name] = build
    return build


def _by_name(signature, name, args, kwargs):
    """The arguments of a call, with those of the family passed by name.

    Until release 0.3 they may also be passed by position, with a warning.
    """
    parameters = signature.parameters.values()
    first = [each.name for each in parameters if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    by_name = [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    own = by_name[: by_name.index("seed")] if "seed" in by_name else []
    late = dict(zip(own, args[len(first) :], strict=False))
    if not late or len(args) > len(first) + len(own) or set(late) & set(kwargs):
        return args, kwargs
    named = ", ".join(f"{key}={value!r}" for key, value in late.items())
    warnings.warn(
        f"`{name}` takes {', '.join(late)} by name, and by position only until release 0.3: "
        f"{name}(..., {named})",
        FutureWarning,
        # Points to the line that called the factory, past `_by_name` and `build`.
        stacklevel=3,
    )
    return args[: len(first)], {**late, **kwargs}


def _is_large(given) -> bool:
    """Whether the sizes in the arguments could give a model of more than about 2^24 weights."""
    values = keras.tree.flatten([value for key, value in given.items() if key != "seed"])
    shape = given.get("input_shape")
    with contextlib.suppress(TypeError):
        values.append(math.prod(shape))
    return sum(value for value in values if is_integer(value) and value > 0) > 2**12


def _check_size(factory, given, folder) -> None:
    """Refuses a model that is larger than the memory or than its pretrained weights.

    Otherwise the process would take gigabytes until it is killed. Other errors in the arguments
    are reported when the model is made.
    """
    seed = given.get("seed") or 0  # for None a seed would be drawn, and nothing is computed here
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
    # Only the arguments that are sizes: the others did not make the model too large.
    sizes = {
        key: value
        for key, value in given.items()
        if any(map(is_integer, keras.tree.flatten(value)))
    }
    text = shortened(", ".join(f"{key}={value!r}" for key, value in sizes.items()), 300)
    return ValueError(f"The sizes of a model must fit into {what}. Received: {text}")


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
        *args: Passed to the factory.
        **kwargs: Passed to the factory.

    Returns:
        A compiled model.

    Raises:
        ValueError: if there is no such model; the message names the nearest ones.

    Example:

    >>> aezoo.create("dense_ae", (64,), 8).encoder.output_shape
    (None, 8)
    """
    return get_factory(name)(*args, **kwargs)
