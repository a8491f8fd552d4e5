"""The command line: it reads options, calls the library, and prints what came out."""

from __future__ import annotations

import inspect
import pathlib
import sys
from typing import Annotated

import typer
from typer.core import TyperGroup

from aezoo._options import flag, option, options, parse

FACTORY_ONLY = ("input_shape", "compile", "name")
RECIPE_ONLY = ("model", "data", "out", "validation_data", "test_data", "callbacks", "verbose",
               "resume", "overwrite")  # fmt: skip

RunArgument = Annotated[pathlib.Path, typer.Argument(help="A run folder, or a .keras file.")]


class _Models(TyperGroup):
    """`aezoo train MODEL`: one command a model, with the options of its factory."""

    def list_commands(self, ctx):
        import aezoo

        return aezoo.list_models()

    def get_command(self, ctx, cmd_name):
        from aezoo._registry import get_factory

        return _train_command(cmd_name, get_factory(cmd_name))


app = typer.Typer(
    help="A model zoo of autoencoders for Keras 3.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(
    typer.Typer(cls=_Models, no_args_is_help=True, pretty_exceptions_enable=False),
    name="train",
    help="Train a model of the zoo: aezoo train MODEL --data SOURCE.",
)


def main() -> None:
    """Runs the command line; bad input ends in one sentence and exit code 2."""
    try:
        app()
    except (ValueError, FileNotFoundError) as error:
        _fail(error, 2)
    except (FloatingPointError, OSError) as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        _fail("Interrupted.", 130)


def _fail(error, code: int):
    print(f"Error: {error}", file=sys.stderr)
    sys.exit(code)


@app.command("list")
def list_command(
    pattern: Annotated[str, typer.Argument(help="Wildcard that names must match.")] = "*",
    markdown: Annotated[bool, typer.Option("--markdown", help="The README's table.")] = False,
) -> None:
    """The zoo as a table."""
    from rich.console import Console
    from rich.table import Table

    from aezoo._registry import get_factory, list_models, markdown_table, paper, summary

    if markdown:
        print(markdown_table())
        return
    table = Table("model", "what it is", "paper")
    for name in list_models(pattern):
        factory = get_factory(name)
        table.add_row(name, summary(factory), paper(factory))
    Console().print(table)


@app.command()
def reconstruct(
    run: RunArgument,
    images: Annotated[list[pathlib.Path], typer.Argument(help="Image files, or folders of them.")],
    out: Annotated[pathlib.Path, typer.Option(help="Folder for the reconstructions, as PNG.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Reconstruct images; a denoising model denoises them."""
    import numpy as np
    from PIL import Image

    from aezoo import load_model
    from aezoo._run_folder import replacing
    from aezoo.data._images import list_images, read_image

    model = load_model(run)
    shape = model.input_shape[1:]
    if len(shape) != 3 or shape[-1] not in (1, 3):
        raise ValueError(f"`run` must hold a model of images. Received: input shape {shape}")
    paths = [
        path for given in images for path in (list_images(given) if given.is_dir() else [given])
    ]
    if not paths:
        raise ValueError(f"`images` must hold at least one image. Received: {images[0]}")
    targets = [out / f"{path.stem}.png" for path in paths]
    if len(set(targets)) < len(targets):
        targets = [out / f"{i:05}-{path.stem}.png" for i, path in enumerate(paths)]
    _refuse_existing(targets, overwrite)
    pixels = [read_image(path, shape[:2], shape[2]) for path in paths]
    for path, image in zip(paths, pixels, strict=True):
        if image is None:
            raise ValueError(f"`images` must be readable images. Received: {path}")
    outputs = model.reconstruct(np.stack(pixels))
    out.mkdir(parents=True, exist_ok=True)
    for target, output in zip(targets, outputs, strict=True):
        image = (np.clip(output, 0, 1) * 255).round().astype("uint8")
        with replacing(target) as temporary:
            Image.fromarray(image.squeeze(-1) if shape[2] == 1 else image).save(temporary, "png")
    print(f"{len(paths)} reconstructions are in {out}")


@app.command()
def encode(
    run: RunArgument,
    source: Annotated[str, typer.Argument(help="Data to encode, as --data takes it.")],
    out: Annotated[pathlib.Path, typer.Option(help="The .npz file with codes, and labels if any.")],
    split: Annotated[str, typer.Option(help="Split of the source.")] = "train",
    limit: Annotated[int | None, typer.Option(help="At most so many samples.")] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where TFDS finds its data.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write the codes of a data set."""
    import numpy as np

    from aezoo import load_model
    from aezoo._run_folder import replacing
    from aezoo.data._load import with_labels

    if out.suffix != ".npz":
        raise ValueError(f"`out` must end in .npz. Received: {out}")
    _refuse_existing([out], overwrite)
    model = load_model(run)
    image_size = model.input_shape[1:3] if len(model.input_shape) == 4 else None
    x, labels = with_labels(source, split, image_size=image_size, limit=limit, data_dir=data_dir)
    arrays = {"codes": model.encode(x)}
    if labels is not None:
        arrays["labels"] = labels
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    print(f"{len(x)} codes of shape {arrays['codes'].shape[1:]} are in {out}")


def _refuse_existing(paths, overwrite):
    for path in paths:
        if path.exists() and not overwrite:
            raise ValueError(f"`out` must be new, or --overwrite must be given. Received: {path}")


def _train_command(name, factory):
    """A command whose options are the arguments of the factory and of the recipe."""
    from aezoo import train
    from aezoo._registry import summary

    factory_options = options(factory, FACTORY_ONLY)
    recipe_options = options(train, RECIPE_ONLY)
    own = {
        "data": option(str, "data", "digits, a TFDS name, a file or a folder (default digits)."),
        "out": option(str, "out", f"The run folder (default runs/{name})."),
        "resume": flag("resume", "Go on with a run that was killed; its options are kept."),
        "overwrite": flag("overwrite", "Replace an earlier run in the folder."),
    }

    def command(**given):
        arguments = {key: parse(key, given[key], factory) for key in factory_options}
        recipe = {key: parse(key, given[key], train) for key in recipe_options}
        _train(
            name,
            {key: value for key, value in arguments.items() if value is not None},
            {key: value for key, value in recipe.items() if value is not None},
            given["data"],
            pathlib.Path(given["out"] or f"runs/{name}"),
            given["resume"],
            given["overwrite"],
        )

    command.__doc__ = summary(factory)
    parameters = {**own, **factory_options, **recipe_options}
    command.__signature__ = inspect.Signature(list(parameters.values()))
    command.__annotations__ = {key: made.annotation for key, made in parameters.items()}
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(command)
    return typer.main.get_command(single)


def _train(name, arguments, recipe, data, out, resume, overwrite):
    import keras

    from aezoo import create, train
    from aezoo._run_folder import CONFIG, RunFolder
    from aezoo.data import load

    folder = RunFolder(out)
    if resume and folder.exists:
        config = folder.read_json(CONFIG)
        _refuse_other_options(
            config, name, {**arguments, **recipe, **({"data": data} if data else {})}
        )
        arguments = {
            key: value for key, value in config["arguments"].items() if key != "input_shape"
        }
        kept = {key: value for key, value in config["training"].items() if value is not None}
        recipe, data = {**recipe, **kept}, config["data"]
    data = data or "digits"
    if "seed" in recipe:
        keras.utils.set_random_seed(recipe["seed"])
        arguments["seed"] = recipe["seed"]
    source = {key: recipe[key] for key in ("image_size", "data_dir") if key in recipe}
    sample = load(data, limit=1, **source).element_spec
    model = create(name, tuple(sample.shape[1:]), **arguments)
    run = train(model, data, out=out, resume=resume, overwrite=overwrite, **recipe)
    if run.interrupted:
        raise SystemExit(130)
    _print_metrics(run)


def _refuse_other_options(config, name, given):
    before = {"model": config["model"], "data": config["data"], **config["training"]}
    before.update(config["arguments"])
    for key, value in {"model": name, **given}.items():
        old = before.get(key)
        if key != "data_dir" and old != (list(value) if isinstance(value, tuple) else value):
            raise ValueError(
                f"`--{key.replace('_', '-')}` must be that of the run to resume, {old!r}. "
                f"Received: {value!r}"
            )


def _print_metrics(run):
    from rich.console import Console
    from rich.table import Table

    metrics = run.metrics
    table = Table(
        "", "MSE", "PSNR (dB)", title=f"{metrics['samples']} {metrics['evaluated_on']} samples"
    )
    labels = {"noisy": "noisy input", "affine": "best affine map"}
    labels["pca"] = f"PCA, {metrics['pca'].get('latent_dim')} components"
    rows = {
        run.model.name: metrics,
        **{labels[key]: metrics[key] for key in labels if key in metrics},
    }
    for label, figures in rows.items():
        table.add_row(label, f"{figures['mse']:.5f}", f"{figures['psnr']:.2f}")
    console = Console()
    console.print(table)
    console.print(
        f"{metrics['seconds_per_epoch']:.2f} s an epoch, "
        f"{metrics['images_per_second']:,} samples/s, "
        f"{metrics['parameters']:,} parameters. The run is in {run.folder}",
        highlight=False,
    )
