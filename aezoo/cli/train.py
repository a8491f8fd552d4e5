"""`aezoo train MODEL`: a command whose options are the arguments of the factory and of `train`."""

from __future__ import annotations

import inspect
import pathlib
import signal
import sys
from typing import Annotated

import typer
from typer.core import TyperCommand, TyperGroup

from aezoo.cli.options import NO_SETTINGS, flag, option, options, parse
from aezoo.cli.zoo_index import summaries
from aezoo.inputs.arguments import check_choice, unknown_model

FACTORY_ONLY = ("input_shape", "compile", "name")
DISTRIBUTE = (
    "mirrored: on all devices of this machine; multiworker: on the devices of all workers in "
    "TF_CONFIG, each of which runs this command."
)
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16", "float64")
PRECISION = f"{', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]} (default: that of Keras, float32)."


class TrainCommands(TyperGroup):
    """`aezoo train MODEL`: one command per model, with the options of its factory."""

    def list_commands(self, ctx):
        # Read from the files of the zoo, as its modules import Keras.
        return list(summaries())

    def get_command(self, ctx, cmd_name):
        known = summaries()
        if cmd_name not in known:
            raise unknown_model(cmd_name, list(known))
        return TrainCommand(cmd_name, help=known[cmd_name])


class TrainCommand(TyperCommand):
    """A name and a line of help; the options are read from the factory when they are needed."""

    def make_context(self, *args, **options):
        # Keras is imported only now, when a model and not a list of them is asked for.
        import aezoo._public  # noqa: F401  the factories register themselves
        from aezoo.models._registry import get_factory

        return _train_command(self.name, get_factory(self.name)).make_context(*args, **options)


train_app = typer.Typer(cls=TrainCommands, no_args_is_help=True, pretty_exceptions_enable=False)


@train_app.callback(invoke_without_command=True)
def train_callback(
    context: typer.Context,
    recipe: Annotated[
        str | None, typer.Option(help="A name, such as conv_ae.mnist, or a .toml file.")
    ] = None,
    out: Annotated[
        pathlib.Path | None, typer.Option(help="The run folder (default runs/NAME).")
    ] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where TFDS finds its data.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a killed run.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a run.")] = False,
    distribute: Annotated[str | None, typer.Option(help=DISTRIBUTE)] = None,
    precision: Annotated[str | None, typer.Option(help=PRECISION)] = None,
) -> None:
    """Runs a recipe, where no model is named."""
    if context.invoked_subcommand is not None:
        given = [key for key, value in context.params.items() if value not in (None, False)]
        if given:  # they are options of a recipe; the model's own stand behind it
            model, first = context.invoked_subcommand, f"--{given[0].replace('_', '-')}"
            raise ValueError(
                f"Options must stand behind the model: aezoo train {model} {first} ... "
                f"Received: {first} before it"
            )
        return
    from aezoo.cli.recipe_files import read_recipe

    if recipe is None:
        raise ValueError("`aezoo train` must be given a model or --recipe. Received: neither")
    content = read_recipe(recipe)
    training = {**content["training"], **({"data_dir": data_dir} if data_dir else {})}
    # `stem` would make `conv_ae` of the name `conv_ae.mnist`.
    name = pathlib.Path(recipe).stem if recipe.endswith(".toml") else recipe
    out = out or pathlib.Path("runs") / name
    _train(
        content["model"], content["arguments"], training, content["data"], out, resume, overwrite,
        distribute, precision,
    )  # fmt: skip


def _train_command(name, factory):
    """A command whose options are the arguments of the factory and of the recipe."""
    from aezoo import train

    factory_options = options(factory, FACTORY_ONLY)
    recipe_options = options(train, NO_SETTINGS)
    own = {
        "data": option(str, "data", "digits, a TFDS name, a file or a folder (default digits)."),
        "out": option(str, "out", f"The run folder (default runs/{name})."),
        "resume": flag("resume", "Continue a run that was killed; its options are kept."),
        "overwrite": flag("overwrite", "Replace an earlier run in the folder."),
        "distribute": option(str, "distribute", DISTRIBUTE),
        "precision": option(str, "precision", PRECISION),
    }

    def command(**given):
        # Only text is parsed: Typer has made numbers and flags of the other values.
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
            given["distribute"],
            given["precision"],
        )

    command.__doc__ = summaries()[name]
    parameters = {**own, **factory_options, **recipe_options}
    # Typer takes the parameters from the signature and their types from the annotations.
    command.__signature__ = inspect.Signature(list(parameters.values()))
    command.__annotations__ = {key: made.annotation for key, made in parameters.items()}
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(name)(command)
    return typer.main.get_command(single)


def _train(name, arguments, recipe, data, out, resume, overwrite, distribute, precision):
    import keras

    from aezoo import create, train
    from aezoo.backends.engine import workers_under
    from aezoo.callbacks import Terminated
    from aezoo.cli.recipe_files import check_settings
    from aezoo.data import load
    from aezoo.training.run_folder import RunFolder

    workers, folder = workers_under(distribute), RunFolder(out)
    # Only the chief sees the folder, and every worker must make the same model.
    with workers.together():
        goes_on = workers.chief and resume and folder.exists
        config = folder.read_config() if goes_on else None
    config = workers.from_chief(config)
    if config is not None:
        chosen = {"data": data, "precision": precision}
        chosen = {key: value for key, value in chosen.items() if value}
        _refuse_other_options(config, name, {**arguments, **recipe, **chosen})
        precision = config.get("precision")
        # The shape is that of the data, as in a new run.
        arguments = {
            key: value for key, value in (config["arguments"] or {}).items() if key != "input_shape"
        }
        # A config.json that was edited ends in a sentence, not in a TypeError of `train`.
        check_settings(name, arguments, config["training"])
        kept = {key: value for key, value in config["training"].items() if value is not None}
        recipe, data = {**recipe, **kept}, config["data"]
    # Before the model is made, whose layers take the policy of that moment.
    if precision is not None:
        keras.config.set_dtype_policy(check_choice("--precision", precision, PRECISIONS))
    data = data or "digits"
    if "seed" in recipe:
        keras.utils.set_random_seed(recipe["seed"])
        # Only in a new run: the config of a resumed one always has a seed for the order of samples,
        # and its arguments have one only where the model was made with it.
        if config is None:
            arguments["seed"] = recipe["seed"]
    source = {key: recipe[key] for key in ("image_size", "data_dir") if key in recipe}
    # One sample tells the shape that the model must have.
    sample = load(data, limit=1, **source).element_spec
    with workers.scope():
        model = create(name, tuple(sample.shape[1:]), **arguments)
    try:
        run = train(model, data, out=out, resume=resume, overwrite=overwrite, **recipe)
    except Terminated:  # before or after the steps
        print("Terminated.", file=sys.stderr)
        raise SystemExit(128 + signal.SIGTERM) from None
    if run.interrupted:
        raise SystemExit(128 + run.signal)
    if workers.chief:
        _print_metrics(run)


def _refuse_other_options(config, name, given):
    before = {key: config.get(key) for key in ("model", "data", "precision")} | config["training"]
    before.update(config["arguments"] or {})
    for key, value in {"model": name, **given}.items():
        old = before.get(key)
        # JSON has lists only, and the same data may lie elsewhere on another machine.
        if key != "data_dir" and old != (list(value) if isinstance(value, tuple) else value):
            raise ValueError(
                f"`--{key.replace('_', '-')}` must be that of the run to resume, {old!r}. "
                f"Received: {value!r}"
            )


def _print_metrics(run):
    from rich.console import Console
    from rich.table import Table

    metrics = run.metrics
    psnr = ["PSNR (dB)"] if "psnr" in metrics else []  # only of data in [0, 1]
    table = Table("", "MSE", *psnr, title=f"{metrics['samples']} {metrics['evaluated_on']} samples")
    size = metrics["pca"].get("latent_dim")
    labels = {
        "noisy": "noisy input",
        "pca": f"PCA, {size} components",
        "affine_rank": f"best affine map of rank {size}",
        "affine": "best affine map",
    }
    rows = {
        run.model.name: metrics,
        **{labels[key]: metrics[key] for key in labels if key in metrics},
    }
    for label, figures in rows.items():
        if "mse" in figures:
            cells = [f"{figures['psnr']:.2f}"] if psnr else []
            table.add_row(label, f"{figures['mse']:.5f}", *cells)
        else:
            table.add_row(f"no PCA: {figures['why']}", "-", *["-"] * len(psnr))
    console = Console()
    console.print(table)
    console.print(
        f"{metrics['seconds_per_epoch']:.2f} s per epoch, "
        f"{metrics['images_per_second']:,} samples/s, "
        f"{metrics['parameters']:,} parameters. The run is in {run.folder}",
        highlight=False,
    )
