"""What the zoo holds, read from its files: the command line lists it without importing Keras."""

from __future__ import annotations

import ast
import functools
import pathlib
from fnmatch import fnmatchcase

ROOMS = ("models", "closed_form")


@functools.cache
def docstrings() -> dict[str, str]:
    """The docstring of each factory, in the order of their names."""
    found = {}
    for room in ROOMS:
        for path in (pathlib.Path(__file__).parent.parent / room).glob("*.py"):
            # Parsed and not imported, as the modules of the models import Keras.
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                # `@register` without a call is a plain name in the syntax tree.
                decorators = getattr(node, "decorator_list", ())
                if any(getattr(decorator, "id", None) == "register" for decorator in decorators):
                    found[node.name] = ast.get_docstring(node)
    return dict(sorted(found.items()))


def summaries(pattern: str = "*") -> dict[str, str]:
    """The first line of each docstring, by the names that match a wildcard."""
    return {
        name: text.splitlines()[0]
        for name, text in docstrings().items()
        if fnmatchcase(name, pattern)
    }


def paper(name: str) -> str:
    """Authors and year, as the `Reference:` section of the docstring begins."""
    # A reference is: authors, year, "title", link.
    reference = docstrings()[name].split("Reference:\n")[-1]
    return reference.split('"')[0].strip().rstrip(",")


def markdown_table() -> str:
    """The zoo as the table of the README."""
    lines = ["| model | what it is | paper |", "|---|---|---|"]
    lines += [f"| `{name}` | {what} | {paper(name)} |" for name, what in summaries().items()]
    return "\n".join(lines)
