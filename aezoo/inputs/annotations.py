"""What an argument may be, said once: in its annotation.

`validated` checks arguments by the annotations of a function, through pydantic, and says in one
sentence what is wrong; the command line makes its options of the same annotations. A string in an
annotation is what follows "must be" in that sentence. The checks themselves are those of
`aezoo.inputs.arguments`, whose own messages need the name of the argument, which is not known here.
"""

from __future__ import annotations

import functools
import inspect
import math
import sys
import types
import typing
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Annotated, Literal, ParamSpec, TypeVar

from annotated_types import Ge, Interval, MinLen
from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from aezoo.inputs.arguments import (
    LARGEST,
    check_activation,
    check_flag,
    check_input_shape,
    is_integer,
    nearest,
)

P = ParamSpec("P")
Result = TypeVar("Result")


# These run before pydantic's own checks, which would take "8" and True for integers and convert
# them. Their errors say nothing, as `_validated` makes the message from the annotation.
def _integer(value) -> int:
    if not is_integer(value):
        raise ValueError
    return int(value)


def _real(value) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(value):
        raise ValueError
    return float(value)


def _flag(value) -> bool:
    return check_flag("", value)


def _verbose(value) -> bool:
    """Keras's 0, 1 and 2 too, so that one habit serves every function."""
    if is_integer(value) and value in (0, 1, 2):
        return bool(value)
    return check_flag("", value)


def _text(value) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _sequence(value) -> tuple:
    """One integer is a sequence of one."""
    if is_integer(value):
        return (value,)
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes, bytearray)):
        raise ValueError
    return tuple(value)


def _activation(value):
    check_activation("", value)
    return value


def _shape(*ranks: int) -> Callable:
    return functools.partial(check_input_shape, ranks=ranks)


_SHAPE = "the shape of one sample without the batch, {}, of positive integers"
AnyShape = Annotated[
    tuple[int, ...],
    BeforeValidator(_shape(1, 2, 3, 4)),
    _SHAPE.format("(features,) or (steps, channels) or (height, width, channels)"),
]
SeriesShape = Annotated[
    tuple[int, ...],
    BeforeValidator(_shape(2, 3, 4)),
    _SHAPE.format("(steps, channels) or (height, width, channels)"),
]
GridShape = Annotated[
    tuple[int, ...],
    BeforeValidator(_shape(2, 3)),
    _SHAPE.format("(steps, channels) or (height, width, channels)"),
]
ImageShape = Annotated[
    tuple[int, ...], BeforeValidator(_shape(3)), _SHAPE.format("(height, width, channels)")
]
Flag = Annotated[bool, BeforeValidator(_flag), "True or False"]
Text = Annotated[str, BeforeValidator(_text), MinLen(1), "a text"]
Title = Annotated[str, BeforeValidator(_text)] | None
Verbose = Annotated[
    bool, BeforeValidator(_verbose), "True or False, or 0, 1 or 2 as in `keras.Model.fit`"
]
Integer = Annotated[int, BeforeValidator(_integer)]
Size = Annotated[Integer, Interval(ge=1, le=LARGEST), "a positive integer"]
Sizes = Annotated[
    tuple[Size, ...],
    BeforeValidator(_sequence),
    MinLen(1),
    "a tuple of positive integers, at least one",
]
SizesOrEmpty = Annotated[
    tuple[Size, ...], BeforeValidator(_sequence), "a tuple of positive integers"
]
# `keras.utils.set_random_seed` seeds NumPy's global generator too, which takes 32 bits.
FixedSeed = Annotated[Integer, Interval(ge=0, le=2**32 - 1), f"an integer from 0 to {2**32 - 1}"]
Seed = Annotated[FixedSeed | None, f"an integer from 0 to {2**32 - 1} or None"]
Number = Annotated[float, BeforeValidator(_real)]
NonNegative = Annotated[Number, Ge(0)]
Share = Annotated[Number, Interval(ge=0, le=1)]
Activation = Annotated[
    str | Callable | None,
    BeforeValidator(_activation),
    "a Keras activation, such as 'relu', 'gelu', 'sigmoid' or 'linear', or None",
]
Architecture = Literal["dense", "conv"]

WORDS = {str: "a text", int: "an integer", float: "a number", bool: "True or False"}


def hints_of(function) -> dict[str, object]:
    """The annotations of the arguments of a function, resolved, with their metadata.

    Raises:
        NameError: if an annotation names something that is imported for type checkers only.
    """
    function = inspect.unwrap(function)
    # `get_type_hints` resolves all that it is given, and would fail for a return type that only
    # type checkers import.
    of_arguments = {key: text for key, text in function.__annotations__.items() if key != "return"}
    holder = types.SimpleNamespace(__annotations__=of_arguments)
    namespace = vars(sys.modules[function.__module__])
    return typing.get_type_hints(holder, namespace, include_extras=True)


def checked(function: Callable[P, Result]) -> Callable[P, Result]:
    """Checks the calls of a function by those of its annotations that say more than a class."""
    signature = inspect.signature(function)
    hints = {key: hint for key, hint in hints_of(function).items() if _says_more(hint)}

    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError:
            return function(*args, **kwargs)  # Python's own message names the function
        given.arguments.update(validated(hints, given.arguments))
        return function(*given.args, **given.kwargs)

    shown = [
        each.replace(annotation=plain(hints[key])) if key in hints else each
        for key, each in signature.parameters.items()
    ]
    call.__signature__ = signature.replace(parameters=shown)
    return call


def _says_more(annotation) -> bool:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(map(_says_more, parts))
    return origin in (Annotated, Literal)


def validated(hints: dict, given: dict) -> dict:
    """The arguments, converted as their annotations say, such as lists to tuples.

    Raises:
        ValueError: if an argument is not what its annotation says.
    """
    return {
        key: _validated(key, hints[key], value) if key in hints else value
        for key, value in given.items()
    }


def _validated(name, annotation, value):
    try:
        return _adapter(annotation).validate_python(value)
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False)
        # For an integer beyond `LARGEST`, "a positive integer" would not say what is wrong.
        too_large = first["type"] == "less_than_equal" and first["ctx"]["le"] == LARGEST
        words = f"at most {LARGEST:,}" if too_large else accepted(annotation, value)
        raise ValueError(f"`{name}` must be {words}. Received: {value!r}") from None


# Building a schema takes far longer than a check, and factories share most annotations. Keras's
# classes have no schema; `arbitrary_types_allowed` checks them by `isinstance`.
@functools.cache
def _adapter(annotation) -> TypeAdapter:
    return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))


def accepted(annotation, value=None) -> str:
    """What an annotation accepts, in words, with the choices that are most similar to `value`."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        # A string takes the place of the words for the constraints. Python joins nested annotations
        # into one, the outermost part last.
        texts = [part for part in parts[1:] if isinstance(part, str)]
        if texts:
            return texts[-1]
        for part in reversed(parts[1:]):
            if isinstance(part, Ge):
                return f"a number of at least {part.ge}"
            if isinstance(part, Interval):
                return f"a number between {part.ge} and {part.le}"
        return accepted(parts[0], value)
    if origin is Literal:
        return f"one of {', '.join(map(repr, parts))}{nearest(value, parts)}"
    if origin in (typing.Union, types.UnionType):
        words = [accepted(part, value) for part in parts if part is not types.NoneType]
        words += ["None"] if types.NoneType in parts else []
        return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return WORDS.get(annotation) or f"a {annotation.__name__}"


def plain(annotation):
    """The annotation without its metadata, as a signature shows it."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return plain(parts[0])
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(plain, parts))]  # noqa: UP007  of parts that are not known
    if origin is tuple:
        return tuple[tuple(part if part is ... else plain(part) for part in parts)]
    return annotation


def kinds(annotation) -> list[type]:
    """The types that an annotation accepts, None left out; `tuple` for any tuple."""
    annotation = plain(annotation)
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return list(dict.fromkeys(map(type, parts)))
    if origin in (typing.Union, types.UnionType):
        return [kind for part in parts for kind in kinds(part)]
    return [] if annotation is types.NoneType else [origin or annotation]
