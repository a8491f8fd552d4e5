"""The command line: it reads options, calls the library, and prints what came out."""

from __future__ import annotations

import os
import pathlib
import sys
from typing import Annotated

# Nothing up here imports Keras, which takes seconds: help and typos are answered at once, and each
# command imports what it needs.
import typer

from aezoo.cli.train import train_app

RunArgument = Annotated[pathlib.Path, typer.Argument(help="A run folder, or a .keras file.")]


app = typer.Typer(
    help="A model zoo of autoencoders for Keras 3.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(
    train_app,
    name="train",
    help="Train a model of the zoo: aezoo train MODEL --data SOURCE, or --recipe NAME.",
)


def main() -> None:
    """Runs the command line; bad input ends in one sentence and exit code 2."""
    try:
        try:
            app()
        finally:
            # Within the outer `try`: when Python flushes at its end, a closed pipe is a traceback.
            sys.stdout.flush()
    except SystemExit as exit:
        # Typer and rich turn a closed pipe into exit code 1.
        if isinstance(exit.__context__, BrokenPipeError):
            _leave_closed_pipe()
        raise
    except BrokenPipeError:
        _leave_closed_pipe()
    # Before OSError, which includes FileNotFoundError: bad input is 2, a machine's trouble is 1.
    except (ValueError, FileNotFoundError) as error:
        _fail(error, 2)
    except (FloatingPointError, OSError, ModuleNotFoundError) as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        _fail("Interrupted.", 130)


def _leave_closed_pipe():
    """Ends as any program does whose reader, such as `head`, went away."""
    # What is left in the buffers goes there when Python ends, and not into the closed pipe.
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.__stdout__.fileno())
    # 128 plus the number of SIGPIPE, as a shell says it.
    sys.exit(141)


def _fail(error, code: int):
    print(f"Error: {error}", file=sys.stderr)
    sys.exit(code)


@app.command("list")
def list_command(
    pattern: Annotated[str, typer.Argument(help="Wildcard that names must match.")] = "*",
    markdown: Annotated[bool, typer.Option("--markdown", help="The README's table.")] = False,
    weights: Annotated[bool, typer.Option("--weights", help="The pretrained weights.")] = False,
) -> None:
    """The zoo as a table, or its pretrained weights."""
    from rich.console import Console
    from rich.table import Table

    from aezoo.cli.zoo_index import markdown_table, paper, summaries

    if markdown:
        print(markdown_table())
        return
    if weights:
        _list_weights(pattern)
        return
    table = Table("model", "what it is", "paper")
    for name, what in summaries(pattern).items():
        table.add_row(name, what, paper(name))
    Console().print(table)


def _list_weights(pattern):
    from rich.console import Console
    from rich.table import Table

    from aezoo.saving.pretrained import SHIPPED, list_weights, read_card

    table = Table("weights", "what they are", "code", "parameters", "file, kB", "test metrics")
    for name in list_weights(pattern):
        card = read_card(SHIPPED / name)
        figures = (f"{key} {value}" for key, value in card["figures"].items())
        size = f"{card['bytes'] / 1000:,.0f}"
        code = str(card["arguments"].get("latent_dim", ""))
        table.add_row(
            name, card["about"], code, f"{card['parameters']:,}", size, "\n".join(figures)
        )
    Console().print(table)


@app.command()
def reconstruct(
    run: RunArgument,
    images: Annotated[list[pathlib.Path], typer.Argument(help="Image files, or folders of them.")],
    out: Annotated[
        pathlib.Path, typer.Option(help="Folder for the reconstructions, as PNG of 8 or 16 bits.")
    ],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Reconstruct images; a denoising model denoises them."""
    import numpy as np

    from aezoo import load_model
    from aezoo.data._images import UnreadableImage, list_images, read_image, write_png
    from aezoo.saving.files import make_folder, replacing

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
    # Files of one name may come from several folders.
    if len(set(targets)) < len(targets):
        targets = [out / f"{i:05}-{path.stem}.png" for i, path in enumerate(paths)]
    _refuse_existing(targets, overwrite)
    pixels = []
    for path in paths:
        try:
            pixels.append(read_image(path, shape[:2], shape[2]))
        except UnreadableImage as error:
            raise ValueError(
                f"`images` must be readable images. Received: {path} ({error})"
            ) from error
        if pixels[-1].dtype.kind == "f":
            raise ValueError(
                "`images` must have pixels of 8 or 16 bits, as PNG holds no other numbers; "
                f"`aezoo.load_model(run).reconstruct(x)` takes them. Received: {path}"
            )
    dtypes = [image.dtype for image in pixels]
    # Images of 8 and of 16 bits go through in one batch, as the same values in [0, 1].
    if len(set(dtypes)) > 1:
        pixels = [image.astype("float32") / np.iinfo(image.dtype).max for image in pixels]
    outputs = model.reconstruct(np.stack(pixels))
    # Only now, so that bad input leaves no folder.
    make_folder(out)
    for target, output, dtype in zip(targets, outputs, dtypes, strict=True):
        with replacing(target) as temporary:
            largest = np.iinfo(dtype).max
            write_png(temporary, (np.clip(output, 0, 1) * largest).round().astype(dtype))
    print(f"{len(paths)} reconstructions are in {out}")


@app.command()
def encode(
    run: RunArgument,
    source: Annotated[str, typer.Argument(help="Data to encode, as `aezoo train` takes it.")],
    out: Annotated[pathlib.Path, typer.Option(help="The .npz file with codes, and labels if any.")],
    split: Annotated[str, typer.Option(help="Split of the source.")] = "train",
    limit: Annotated[int | None, typer.Option(help="Maximum number of samples.")] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where TFDS finds its data.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Write the codes of a data set."""
    import numpy as np

    from aezoo import load_model
    from aezoo.data._load import with_labels
    from aezoo.model_classes.autoencoder import check_code
    from aezoo.saving.files import make_folder, replacing
    from aezoo.saving.load import image_size

    if out.suffix != ".npz":
        raise ValueError(f"`out` must end in .npz. Received: {out}")
    _refuse_existing([out], overwrite)
    model = load_model(run)
    check_code("run", model)
    size = image_size(model)
    x, labels = with_labels(source, split, image_size=size, limit=limit, data_dir=data_dir)
    arrays = {"codes": model.encode(x)}
    if labels is not None:
        arrays["labels"] = labels
    make_folder(out.parent)
    with replacing(out) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    print(f"{len(x)} codes of shape {arrays['codes'].shape[1:]} are in {out}")


@app.command()
def evaluate(
    runs: Annotated[list[pathlib.Path], typer.Argument(help="Run folders, or .keras files.")],
    data: Annotated[
        str | None, typer.Option(help="Data, as `aezoo train` takes it (default: the runs' own).")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="Maximum number of samples to measure, and to fit to.")
    ] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where TFDS finds its data.")] = None,
    out: Annotated[
        pathlib.Path | None, typer.Option(help="Folder for the report (default: the first run).")
    ] = None,
) -> None:
    """The report card of runs, with PCA beside them: a table, and a page with pictures."""
    from aezoo.cli.evaluate import run_evaluate

    run_evaluate(runs, data, out, limit, data_dir)


@app.command()
def transfer(
    run: RunArgument,
    data: Annotated[
        str | None, typer.Option(help="Labelled data, as `aezoo train` takes it (default: RUN's).")
    ] = None,
    labels_per_class: Annotated[
        str, typer.Option(help="Numbers of labels per class, separated by commas.")
    ] = "10,100",
    seeds: Annotated[int, typer.Option(help="Repetitions with other labelled samples.")] = 5,
    steps: Annotated[int, typer.Option(help="Gradient steps of the fine-tuning.")] = 300,
    pooling: Annotated[str | None, typer.Option(help="mean, max or flatten.")] = None,
    limit: Annotated[int | None, typer.Option(help="Maximum number of training samples.")] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where TFDS finds its data.")] = None,
    out: Annotated[
        pathlib.Path | None, typer.Option(help="Folder for the results (default: RUN).")
    ] = None,
) -> None:
    """What the encoder is worth to a classifier, with all labels and with few."""
    from aezoo.cli.transfer import run_transfer

    run_transfer(run, data, labels_per_class, seeds, steps, pooling, limit, data_dir, out)


@app.command()
def detect(
    run: Annotated[pathlib.Path, typer.Argument(help="A run folder, or one with a detector.")],
    source: Annotated[str, typer.Argument(help="Data to score, as `aezoo train` takes it.")],
    out: Annotated[pathlib.Path, typer.Option(help="The .csv file with one row per sample.")],
    normal: Annotated[
        str | None, typer.Option(help="Normal data unseen by RUN (default: what it held out).")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Promised rate of false alarms (default 0.01).")
    ] = None,
    score: Annotated[
        str | None, typer.Option(help="reconstruction, mahalanobis, nearest or likelihood.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of SOURCE (default: test, else train).")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Maximum number of samples.")] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where TFDS finds its data.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Find anomalies at a promised rate of false alarms; the detector goes to RUN/detector."""
    from aezoo.cli.detect import run_detect

    if out.suffix != ".csv":
        raise ValueError(f"`out` must end in .csv. Received: {out}")
    _refuse_existing([out], overwrite)
    run_detect(run, source, out, normal, rate, score, split, limit, data_dir)


@app.command()
def export(
    run: RunArgument,
    format: Annotated[str, typer.Option(help="saved_model, onnx or litert.")] = "saved_model",
    part: Annotated[str, typer.Option(help="autoencoder, encoder or decoder.")] = "autoencoder",
    quantize: Annotated[str | None, typer.Option(help="int8, for litert.")] = None,
    input_dtype: Annotated[
        str, typer.Option(help="float32, or uint8 for pixels that are scaled inside.")
    ] = "float32",
    data: Annotated[
        str | None, typer.Option(help="Data to try the file on (default: the run's own).")
    ] = None,
    out: Annotated[
        pathlib.Path | None, typer.Option(help="The file (default for onnx: RUN/PART.onnx).")
    ] = None,
    data_dir: Annotated[str | None, typer.Option(help="Where TFDS finds its data.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
) -> None:
    """Write a run as a file that runs without Keras, and compare the two."""
    from aezoo.cli.export import run_export

    run_export(run, format, part, quantize, input_dtype, data, out, data_dir, overwrite)


def _refuse_existing(paths, overwrite):
    for path in paths:
        if path.exists() and not overwrite:
            raise ValueError(f"`out` must be new, or --overwrite must be given. Received: {path}")
