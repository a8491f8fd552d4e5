"""Command-line options made of a function's signature and docstring."""

from __future__ import annotations

import contextlib
import inspect
import re
from typing import Annotated

import typer

# Arguments of `aezoo.train` that are not settings of a recipe or of a run to resume.
NO_SETTINGS = ("model", "data", "out", "validation_data", "test_data", "callbacks", "verbose",
               "resume", "overwrite")  # fmt: skip


def options(function, without) -> dict[str, inspect.Parameter]:
    """An option for each argument of a function, with its text in the docstring as help."""
    # `getdoc` takes the indentation of the function away, so that sections begin in column 0.
    texts = _argument_texts(inspect.getdoc(function))
    found = {}
    for key, parameter in inspect.signature(function).parameters.items():
        if key not in without:
            default = parameter.default
            shown = (
                ""
                if default in (None, inspect.Parameter.empty)
                else f" (default {_shown(default)})"
            )
            found[key] = option(_kind(key, function), key, texts.get(key, "") + shown)
    return found


def option(kind: type, key: str, help: str) -> inspect.Parameter:
    """An option that is None unless it is given."""
    name = key.replace("_", "-")
    # Both ways, as a flag alone could not switch off what is on by default.
    names = f"--{name}/--no-{name}" if kind is bool else f"--{name}"
    declared = typer.Option(names, help=help, show_default=False)
    return inspect.Parameter(
        key,
        inspect.Parameter.KEYWORD_ONLY,
        # None tells what was not given, so that only the function itself knows its defaults.
        default=None,
        annotation=Annotated[kind | None, declared],
    )


def flag(key: str, help: str) -> inspect.Parameter:
    """A flag that is False unless it is given."""
    declared = typer.Option(f"--{key}", help=help, show_default=False)
    return inspect.Parameter(
        key, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, declared]
    )


def _kind(key, function) -> type:
    """int, float or bool where the argument takes that type alone, or None; else text."""
    kinds = _kinds(key, function)
    return kinds[0] if len(kinds) == 1 and kinds[0] in (int, float, bool) else str


def _kinds(key, function) -> list[type]:
    """The types that an argument takes, None left out."""
    from aezoo.inputs.annotations import hints_of, kinds

    annotation = inspect.signature(function).parameters[key].annotation
    # Texts are annotations of a file with `from __future__ import annotations`.
    if isinstance(annotation, str):
        try:
            annotation = hints_of(function)[key]
        except NameError:  # imported for type checkers alone
            return [str]
    return kinds(annotation)


def parse(key, value, function):
    """The value of an option: `1000,500,250` is a tuple where the argument takes one."""
    if not isinstance(value, str):
        return value
    kinds = _kinds(key, function)
    if value.lower() in ("true", "false") and bool in kinds:
        return value.lower() == "true"
    if tuple in kinds:
        numbers = integers(key, value)
        return numbers[0] if len(numbers) == 1 and int in kinds else numbers
    # int first, as float would make 5.0 of 5.
    for kind in (int, float):
        if kind in kinds:
            with contextlib.suppress(ValueError):
                return kind(value)
    return value


def integers(key: str, value: str) -> tuple[int, ...]:
    """`1000,500,250` as a tuple of integers."""
    parts = [part for part in value.strip("()[] ").split(",") if part.strip()]
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        raise ValueError(
            f"`--{key.replace('_', '-')}` must be integers separated by commas. Received: {value!r}"
        ) from None


def _shown(default) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _argument_texts(docstring: str) -> dict[str, str]:
    """From argument to text, read from the `Args:` section of a Google-style docstring."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", docstring, re.DOTALL | re.MULTILINE)
    # An entry ends at the next name in the same column, so its own lines must be indented further.
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \w+:|\Z)", section[1], re.DOTALL | re.MULTILINE)
    return {key: " ".join(text.split()) for key, text in entries}
