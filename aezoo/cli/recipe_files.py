"""Recipes: small files that say how a model is trained, read by `aezoo train --recipe`."""

from __future__ import annotations

import inspect
import pathlib
import tomllib

import aezoo._public  # noqa: F401  the factories register themselves
from aezoo.cli.options import NO_SETTINGS
from aezoo.inputs.arguments import nearest, reason_of
from aezoo.models._registry import get_factory
from aezoo.saving.pretrained import RECIPE, SHIPPED, read_text

PARTS = ("about", "model", "data", "arguments", "training")


def list_recipes() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{RECIPE}"))


def read_recipe(recipe: str) -> dict:
    """`model`, `data`, `arguments` of the factory and `training` arguments of `aezoo.train`.

    Args:
        recipe: A name of `list_recipes()`, or the path of a `.toml` file.

    Raises:
        ValueError: if there is no such recipe, or it holds what it should not.
    """
    path = SHIPPED / recipe / RECIPE
    # A name may have a dot, as `conv_ae.mnist` does, so the suffix alone tells a file.
    if recipe.endswith(".toml"):
        path = pathlib.Path(recipe)
    if not path.is_file():
        names = list_recipes()
        raise ValueError(
            f"`--recipe` must be one of {', '.join(names)}{nearest(recipe, names)}, or the path "
            f"of a .toml file. Received: {recipe!r}"
        )
    try:
        content = tomllib.loads(read_text(path))
    except (ValueError, OSError, RecursionError) as error:  # and tomllib's own, a ValueError
        raise ValueError(
            f"`--recipe` must be TOML ({reason_of(error)}). Received: {path}"
        ) from error
    # A key that is mistyped would otherwise be ignored, and the model be another one.
    _check_keys("a recipe", content, PARTS)
    if not isinstance(content.get("model"), str) or not isinstance(content.get("data"), str):
        raise ValueError(f"A recipe must have texts `model` and `data`. Received: {content}")
    arguments, training = content.get("arguments", {}), content.get("training", {})
    if not isinstance(arguments, dict) or not isinstance(training, dict):
        raise ValueError(
            f"A recipe must have tables [arguments] and [training]. Received: {content}"
        )
    check_settings(content["model"], arguments, training)
    # TOML has lists only, where a call in Python would have tuples.
    arguments = {
        key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()
    }
    return {**content, "arguments": arguments, "training": training}


def check_settings(model: str, arguments: dict, training: dict) -> None:
    """Whether a factory and `aezoo.train` take what a recipe or a run to resume holds.

    Raises:
        ValueError: if there is no such model, or if it or `aezoo.train` takes something else.
    """
    from aezoo.training.recipe import train

    # The shape is that of the data.
    known = [
        key for key in inspect.signature(get_factory(model)).parameters if key != "input_shape"
    ]
    _check_keys("`arguments`", arguments, known)
    settings = [key for key in inspect.signature(train).parameters if key not in NO_SETTINGS]
    _check_keys("`training`", training, settings)


def _check_keys(what, content, known) -> None:
    for key in content:
        if key not in known:
            raise ValueError(
                f"{what[0].upper()}{what[1:]} must hold only {', '.join(known)}"
                f"{nearest(key, list(known))}. Received: {key!r}"
            )
