"""Command-line options made of a function's signature and docstring."""

from __future__ import annotations

import contextlib
import inspect
import re
from typing import Annotated

import typer


def options(function, without) -> dict[str, inspect.Parameter]:
    """An option for each argument of a function, with the docstring's words as help."""
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
    names = f"--{name}/--no-{name}" if kind is bool else f"--{name}"
    declared = typer.Option(names, help=help, show_default=False)
    return inspect.Parameter(
        key,
        inspect.Parameter.KEYWORD_ONLY,
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
    """int, float and bool where the annotation begins so; anything else is text."""
    annotation = str(inspect.signature(function).parameters[key].annotation)
    kinds = {"int": int, "int | None": int, "float": float, "float | None": float, "bool": bool}
    return kinds.get(annotation, str)


def parse(key, value, function):
    """`1000,500,250` becomes a tuple of integers where the argument takes one."""
    annotation = str(inspect.signature(function).parameters[key].annotation)
    if not isinstance(value, str):
        return value
    if value.lower() in ("true", "false") and "bool" in annotation:
        return value.lower() == "true"
    if annotation.startswith("float |"):
        with contextlib.suppress(ValueError):
            return float(value)
    if "tuple" not in annotation:
        return value
    numbers = integers(key, value)
    return numbers[0] if len(numbers) == 1 and annotation.startswith("int |") else numbers


def integers(key: str, value: str) -> tuple[int, ...]:
    """`1000,500,250` as a tuple of integers."""
    parts = [part for part in value.strip("()[] ").split(",") if part.strip()]
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        raise ValueError(
            f"`--{key.replace('_', '-')}` must be integers with commas between. Received: {value!r}"
        ) from None


def _shown(default) -> str:
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _argument_texts(docstring: str) -> dict[str, str]:
    """From argument to text, read from the `Args:` section of a Google-style docstring."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", docstring, re.DOTALL | re.MULTILINE)
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \w+:|\Z)", section[1], re.DOTALL | re.MULTILINE)
    return {key: " ".join(text.split()) for key, text in entries}
