"""Pretrained weights: one folder per tag, with weights, a card, and the recipe that made them."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import json
import math
import pathlib
import zipfile
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal

import keras
import numpy as np

from aezoo._version import versions
from aezoo.inputs.annotations import Flag, checked
from aezoo.inputs.arguments import as_json, check_path, check_text, nearest, shortened
from aezoo.saving.archive import LARGEST_CONFIG, Refused, check_members, compare, reason
from aezoo.saving.files import make_folder, replacing

PARAMETERS: dict[str, Mapping[str, inspect.Parameter]] = {}  # of each factory, by its name
SHIPPED = pathlib.Path(__file__).parent.parent / "pretrained"
CARD, WEIGHTS, RECIPE = "card.json", "weights.npz", "recipe.toml"
FILES = (".weights.h5", ".keras")
# Version 3 is for names of fields that are not Latin-1, and arrays of numbers have no fields.
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# Arguments that do not change what the weights mean, so a user may choose them.
FREE = ("optimizer", "loss", "learning_rate", "jit_compile", "compile", "seed", "name")


def list_weights(pattern: str = "*") -> list[str]:
    """The names of the shipped weights, sorted.

    Args:
        pattern: A shell-style wildcard that the names must match.

    Returns:
        Names `model.tag`: `aezoo.model(weights="tag")` loads them.

    Example:

    >>> aezoo.list_weights("conv_ae.*")
    ['conv_ae.cifar10', 'conv_ae.mnist']
    """
    check_text("pattern", pattern)
    names = (card.parent.name for card in SHIPPED.glob(f"*/{CARD}"))
    return sorted(name for name in names if fnmatchcase(name, pattern))


def find_folder(model: str, weights) -> pathlib.Path | None:
    """The folder of pretrained weights that `weights` means; None for nothing and for a file.

    Raises:
        ValueError: if it is neither a tag of that model, nor a folder with a card, nor the
            name of a weights file.
    """
    if weights is None or str(weights).endswith(FILES):
        return None
    with contextlib.suppress(ValueError):  # neither a tag nor a path
        given = check_path("weights", weights)
        for folder in (SHIPPED / f"{model}.{given}", given):
            if (folder / CARD).is_file():
                return folder
    tags = [name.split(".", 1)[1] for name in list_weights(f"{model}.*")]
    have = f"one of the tags {', '.join(map(repr, tags))}{nearest(weights, tags)}, " if tags else ""
    raise ValueError(
        f"`weights` must be None, {have}a folder of save_pretrained, or the path of a .weights.h5 "
        f"or .keras file. Received: {weights!r}"
    )


def read_card(folder) -> dict:
    """The card of a folder of pretrained weights, whose hash is checked."""
    folder = pathlib.Path(folder)
    try:
        card = json.loads(read_text(folder / CARD))
        model, arguments, sha256 = card["model"], card["arguments"], card["sha256"]
        received = sha256_of(folder / WEIGHTS)
        if not isinstance(model, str) or not isinstance(arguments, dict):
            raise TypeError("model and arguments")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"`weights` must be a folder with a whole {CARD} and {WEIGHTS} "
            f"({reason(error)}). Received: {folder}"
        ) from error
    if received != sha256:
        raise ValueError(
            f"`weights` must be as they were saved: the sha256 of {WEIGHTS} is not that of its "
            f"card. Received: {folder}"
        )
    return {**card, "model": model, "arguments": arguments}


def read_text(path) -> str:
    """A small file of text: a card, a recipe, or what describes a detector.

    Raises:
        ValueError: if it is too large to be one; it is not read then.
    """
    size = pathlib.Path(path).stat().st_size
    if size > LARGEST_CONFIG:
        raise ValueError(f"{size:,} bytes, more than {LARGEST_CONFIG:,}")
    return pathlib.Path(path).read_text(encoding="utf-8")


def sha256_of(path) -> str:
    with pathlib.Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def merged_arguments(model: str, card: dict, given: dict, known) -> dict:
    """The card's arguments and those that were given, which may not contradict.

    Raises:
        ValueError: if the card is of another model, fixes an argument at another value, or
            holds one that is not among those `known`.
    """
    if card["model"] != model:
        raise ValueError(
            f"`weights` must be those of a {model}. Received: those of a {card['model']}"
        )
    for key in card["arguments"]:
        if key not in known:
            raise ValueError(
                f"`weights` must have a {CARD} with arguments of {model}. Received: {key!r}"
            )
    for key, value in given.items():
        fixed = card["arguments"].get(key, value)
        # As JSON on both sides, since the card has a list where the call has a tuple.
        if key not in FREE and as_json(value) != as_json(fixed):
            raise ValueError(
                f"`{key}` must be {fixed!r}, as the weights fix it, or be left out. "
                f"Received: {value!r}"
            )
    return {**card["arguments"], **given, "weights": None}


def load_pretrained(model, folder) -> None:
    """Puts the weights of a folder into a model of its card."""
    path, variables = pathlib.Path(folder) / WEIGHTS, _variables(model)
    with opened_arrays(path, "weights") as (shapes, arrays):
        for key, variable in variables.items():
            if shapes.get(key) != tuple(variable.shape):
                raise ValueError(
                    f"`weights` must fit the model: {key} of shape {tuple(variable.shape)} is "
                    f"missing. Received: {folder}"
                )
        # All are read before the first is assigned, so that a damaged array changes no weight.
        found = {key: arrays[key].astype("float32") for key in variables}
    for key, variable in variables.items():
        variable.assign(found[key])


def check_fits(needed, folder) -> None:
    """Compares what a model needs, (path, shape) of each array, with the weights of a folder."""
    with opened_arrays(pathlib.Path(folder) / WEIGHTS, "weights") as (shapes, _):
        try:
            compare(needed, shapes)
        except Refused as error:
            raise ValueError(
                f"`weights` must fit the model of its card ({error}). Received: {folder}"
            ) from error


@contextlib.contextmanager
def opened_arrays(path, name: str):
    """The shapes of the arrays of an `.npz` file, and a reader of them; objects are refused.

    Raises:
        ValueError: before any array is read, if one does not hold numbers or has another size than
            it states.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
            shapes = dict(_shape(archive, member) for member in archive.infolist())
        # NumPy makes an array as large as its header says before it reads it, hence the checks.
        arrays = np.load(path, allow_pickle=False)
    except Exception as error:  # zipfile, zlib and numpy have many of their own
        raise ValueError(
            f"`{name}` must be a whole .npz file of numbers ({reason(error)}). Received: {path}"
        ) from error
    with arrays:
        yield shapes, arrays


def _shape(archive, member) -> tuple[str, tuple[int, ...]]:
    """The name of an array and its shape, as the header says, which the size must confirm."""
    with archive.open(member) as file:
        name, version = shortened(member.filename, 60), np.lib.format.read_magic(file)
        if version not in HEADERS:
            raise Refused(f"{name} is of another version of NumPy's format")
        shape, _, dtype = HEADERS[version](file)
        if dtype.kind not in "fiub" or dtype.itemsize > 8:
            raise Refused(f"{name} is {shortened(dtype, 40)}, not real numbers")
        # `math.prod` because 64 bits overflow for the shapes that must be refused.
        if file.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
            raise Refused(f"{name} is not as large as its shape {shape}")
    return member.filename.removesuffix(".npy"), shape


@checked
def save_pretrained(
    model,
    folder: str | pathlib.Path,
    *,
    precision: Literal["float16", "float32"] = "float16",
    overwrite: Flag = False,
    **about,
) -> pathlib.Path:
    """Saves weights and a card that `weights=folder` loads, in a third of the space.

    Args:
        model: An `Autoencoder` that a factory of the zoo made, or that was loaded.
        folder: Where `weights.npz` and `card.json` are written.
        precision: "float16" or "float32" on disk.
        overwrite: Whether an earlier card in the folder may be replaced.
        **about: More entries of the card, such as data="mnist" or figures={...}.

    Returns:
        The folder.

    Raises:
        ValueError: if the model was not made by a factory, or the folder holds a card.

    Example:

    >>> import tempfile
    >>> model = aezoo.dense_ae((8, 8, 1), 4, hidden_units=(32,), seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = aezoo.save_pretrained(model, folder)
    ...     aezoo.dense_ae(weights=folder).encoder.output_shape
    (None, 4)
    """
    folder, made = check_path("folder", folder), _arguments(model)
    if made is None:
        raise ValueError(
            "`model` must be made by a factory of the zoo, with arguments that JSON can hold. "
            f"Received: {model!r}"
        )
    if as_json(about) is None:
        raise ValueError(f"`about` must be what JSON can hold. Received: {about!r}")
    if (folder / CARD).exists() and not overwrite:
        raise ValueError(f"`folder` must be new, or overwrite must be given. Received: {folder}")
    arrays = {key: keras.ops.convert_to_numpy(v) for key, v in _variables(model).items()}
    arrays = {
        key: value.astype(precision) if value.dtype.kind in "fV" else value  # "V" is bfloat16
        for key, value in arrays.items()
    }
    # float16 ends at 65,504, and larger weights have become infinite.
    if not all(np.isfinite(value).all() for value in arrays.values()):
        raise ValueError(
            f"`precision` must be able to hold the weights. Received: {precision!r}, in which "
            "some are infinite"
        )
    make_folder(folder)
    # In memory first, as the card holds the hash and the number of bytes.
    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    weights = written.getvalue()
    card = {
        "model": model.recipe["model"],
        "arguments": made,
        **about,
        "parameters": model.count_params(),
        "precision": precision,
        "bytes": len(weights),
        "sha256": hashlib.sha256(weights).hexdigest(),
        "versions": versions(),
    }
    text = json.dumps(card, indent=2) + "\n"
    # The weights take their place first, as the card is what makes a folder one of weights. After a
    # kill between the two, the hash of an older card does not fit and the folder is refused.
    with replacing(folder / CARD) as new_card, replacing(folder / WEIGHTS) as new_weights:
        new_weights.write_bytes(weights)
        new_card.write_text(text)
    return folder


def _arguments(model) -> dict | None:
    """All arguments that made a model, with defaults, but without those that a user may choose."""
    recipe = as_json(getattr(model, "recipe", None))
    if not recipe or not isinstance(recipe.get("arguments"), dict):
        return None
    parameters = PARAMETERS[recipe["model"]]
    # With the defaults of today, so that the weights still load where a later release has others.
    values = {key: parameter.default for key, parameter in parameters.items()}
    values.update(recipe["arguments"])
    return as_json(
        {key: value for key, value in values.items() if key not in FREE and key != "weights"}
    )


def _variables(model) -> dict:
    """The weights of each part by their names, which do not depend on what else was built."""
    found = {}
    for part in model.layers:
        for variable in part.weights:
            found[f"{part.name}/{variable.path}"] = variable
    return found
