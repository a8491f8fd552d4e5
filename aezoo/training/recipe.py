"""The training recipe: data, schedule, callbacks and run folder in one call."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import pathlib
import random
import signal
import statistics
import sys

import keras

import aezoo.plots as plots
from aezoo.backends.engine import workers_of
from aezoo.callbacks import InterruptGently, Progress, StopOnNaN, Terminated, terminable
from aezoo.inputs.arguments import (
    check_flag,
    check_number,
    check_path,
    check_positive_integer,
    check_seed,
)
from aezoo.inputs.training_data import check_fit_options, check_training_data
from aezoo.model_classes.reconstruction_model import ReconstructionModel
from aezoo.saving.files import CONFIG, METRICS, MODEL
from aezoo.saving.load import load_model
from aezoo.training.baselines import Baselines, measure, picture
from aezoo.training.data_parts import find_parts
from aezoo.training.run_folder import (
    Patience,
    Recorder,
    RunFolder,
    columns,
    configuration,
    continue_draws,
)
from aezoo.training.schedule import begin_schedule, compile_again, take_state

LARGEST_AUGMENT = 10.0  # images under stronger maps are all edge


@dataclasses.dataclass
class Run:
    """What `aezoo.train` returns.

    Attributes:
        model: The trained `Autoencoder`.
        history: From column to values, one an epoch: epoch, loss, mse, seconds, ...
        metrics: Test figures of the model and of PCA; empty if interrupted.
        folder: The run folder, or None.
        interrupted: Whether the training was stopped by Ctrl-C or SIGTERM.
        signal: The number of that signal, or None.
    """

    model: ReconstructionModel
    history: dict[str, list[float]]
    metrics: dict
    folder: pathlib.Path | None = None
    interrupted: bool = False
    signal: int | None = None


@terminable()
def train(
    model: ReconstructionModel,
    data,
    epochs: int | None = None,
    out: str | pathlib.Path | None = None,
    *,
    batch_size: int = 128,
    validation_split: float | None = None,
    validation_data=None,
    test_data=None,
    early_stopping: int | None = None,
    warmup: float = 0.05,
    augment: float = 0.0,
    image_size: int | tuple[int, int] | None = None,
    limit: int | None = None,
    seed: int | None = None,
    data_dir: str | None = None,
    callbacks: tuple[keras.callbacks.Callback, ...] = (),
    resume: bool = False,
    overwrite: bool = False,
    verbose: bool = True,
) -> Run:
    """Trains a model by the recipe: warm-up, cosine decay, history, test figures.

    The optimizer begins anew with the model's learning rate as the peak of the
    schedule, unless it has a schedule of its own; afterwards the model has that
    learning rate again, so that `fit` can go on. Ctrl-C and SIGTERM keep what was learnt.

    Of a model that was made under `tf.distribute.MultiWorkerMirroredStrategy` every worker
    makes this call, outside the scope; `batch_size` is that of all together. Only the chief
    reads and writes `out`, and only it draws; all return its metrics.

    Args:
        model: A compiled `Autoencoder`.
        data: A source as in `aezoo.data.load`, or a `tf.data.Dataset` of batches.
        epochs: Number of passes over the data; None is 20, or 1 for a closed form.
        out: Folder for model.keras, config.json, history.csv, metrics.json,
            reconstructions.png and history.png; None writes nothing.
        batch_size: Samples in a batch.
        validation_split: Share of the training data that is held out. None is 0.1 where
            it is needed, for early stopping or a source without a test split, else 0.
        validation_data: Dataset for val_loss, instead of a split.
        test_data: Dataset for the figures in the end; None is the source's test split,
            else the validation data, else the training data.
        early_stopping: Epochs without a better val_loss after which the training stops
            with the best weights; None trains all epochs.
        warmup: Share of the steps in which the learning rate rises.
        augment: Strength of the affine maps, see `AffineCorruption`, that training images
            undergo, input and target alike; 0 is none. 0.05 serves small data sets.
        image_size: As in `aezoo.data.load`.
        limit: Maximum number of training samples.
        seed: Integer that fixes the order of the samples and the augmentation; None draws
            one, which config.json keeps.
        data_dir: As in `aezoo.data.load`.
        callbacks: More Keras callbacks.
        resume: Whether a run in `out` that was killed goes on from its last finished
            epoch; a finished one is returned as it is. Weights, optimizer, random draws,
            the order of the samples and early stopping go on as if nothing had happened;
            a `tf.data.Dataset` of your own and `callbacks` begin anew.
        overwrite: Whether `out` may hold an earlier run, which is lost. A folder that another
            training writes to is refused in any case.
        verbose: Whether to show the progress.

    Returns:
        A `Run`.

    Raises:
        ValueError: if an argument or the data cannot be right; nothing was written.
        ConnectionError: if another worker stopped; `resume` goes on once all run again.
        FloatingPointError: if the loss became NaN; the last good model is kept.

    Example:

    >>> model = aezoo.dense_ae((8, 8, 1), latent_dim=8, hidden_units=(256, 64), seed=0)
    >>> run = aezoo.train(model, "digits", epochs=60, verbose=False)
    >>> run.metrics["mse"] < run.metrics["pca"]["mse"]
    True
    """
    check_number("warmup", warmup, 0, 1)
    check_number("augment", augment, 0, LARGEST_AUGMENT)
    check_seed("seed", seed)
    for name, flag in (("resume", resume), ("overwrite", overwrite), ("verbose", verbose)):
        check_flag(name, flag)
    if not isinstance(callbacks, (tuple, list)):
        raise ValueError(f"`callbacks` must be a tuple of Keras callbacks. Received: {callbacks!r}")
    check_fit_options({"callbacks": callbacks})
    if early_stopping is not None:
        check_positive_integer("early_stopping", early_stopping)
    if not isinstance(model, ReconstructionModel) or not model.compiled:
        raise ValueError(f"`model` must be a compiled Autoencoder. Received: {model!r}")
    if len(model.inputs) > 1:
        raise ValueError(
            "`model` must take inputs alone; model.fit(data.load(..., labels=True)) trains a "
            f"conditional one. Received: {model!r}"
        )
    epochs = check_positive_integer("epochs", model.usual_epochs if epochs is None else epochs)
    workers = workers_of(model)
    folder = None
    if out is not None:
        out = check_path("out", out)
        folder = RunFolder(out) if workers.chief else None
    with workers.together():
        if seed is None and resume and folder is not None and folder.exists:
            seed = folder.read_config()["training"].get("seed")
    seed = workers.same_seed(random.getrandbits(31) if seed is None else seed)
    parts = find_parts(
        data, validation_data, test_data, validation_split, early_stopping is not None,
        batch_size=batch_size, image_size=image_size, limit=limit, seed=seed, data_dir=data_dir,
    )  # fmt: skip
    for part in (parts.training, parts.validation, parts.test):
        if part is not None:
            check_training_data(model, part)
    learnt = parts.training
    if augment:
        from aezoo.training.tensorflow_augment import augmented

        learnt = augmented(parts.training, augment, seed)
    with contextlib.ExitStack() as held:
        with workers.together():
            if folder is not None:
                held.enter_context(folder.prepared(resume=resume, overwrite=overwrite))
        done, rows, state = 0, [], b""
        if workers.from_chief(bool(folder and resume and folder.finished)):
            return _finished(folder, model, workers)
        peak, steps = begin_schedule(model, parts.training, epochs, warmup)
        if resume:
            with workers.together():
                if folder is not None:
                    done, rows, state = _continue(folder, model)
            text = base64.b64encode(state).decode()
            done, rows, text = workers.from_chief([done, rows, text])
            state = base64.b64decode(text)
            workers.same_state(model)
        state = RunFolder.unpacked(state)
        continue_draws(model, state)
        if folder is not None:
            settings = {
                "epochs": epochs,
                "batch_size": batch_size,
                "validation_split": validation_split,
                "early_stopping": early_stopping,
                "warmup": warmup,
                "augment": augment,
                "image_size": image_size,
                "limit": limit,
                "seed": seed,
            }
            folder.write_json(CONFIG, configuration(model, data, settings, parts.held_out))
        patience = Patience(early_stopping, state) if early_stopping is not None else None
        recorder = Recorder(folder, rows, patience)
        watch, progress = StopOnNaN(), Progress(epochs) if verbose and workers.chief else None
        gently = InterruptGently()
        used = [watch, recorder, *([progress] if progress else []), *callbacks, gently]
        if patience is not None:
            used.insert(0, patience)
        stopped = None
        try:
            if done < epochs and not (patience and patience.is_over):
                model.fit(
                    learnt, epochs=epochs, initial_epoch=done, verbose=0, callbacks=used,
                    validation_data=parts.validation,
                )  # fmt: skip
            elif patience:
                patience.end(model)
        except KeyboardInterrupt as error:
            stopped = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        finally:
            gently.close()
            if progress:
                progress.close()
        if peak is not None:
            compile_again(model, peak, keep_state=True)
        if watch.failed_epoch is not None:
            raise FloatingPointError(
                f"The loss became NaN or infinite in epoch {watch.failed_epoch + 1} although the "
                f"data that was checked is finite: {watch.first_to_fail(parts.training)}; try a "
                "lower learning rate, optimizer=keras.optimizers.Adam(clipnorm=1.0), or a smaller "
                f"weight of that term. Received: learning rate {peak}"
            )
        if folder is not None:
            folder.save_model(model)
        run = Run(model, columns(recorder.rows), {}, folder and folder.path)
        if stopped is not None:
            run.interrupted, run.signal = True, int(stopped)
            _say_interrupted(run, epochs)
            return run
        if workers.chief:
            run.metrics = _finish(run, parts, steps, batch_size, folder)
        run.metrics = workers.from_chief(run.metrics)
        return run


def _finish(run, parts, steps, batch_size, folder) -> dict:
    """Measures, draws and closes the run folder; the metrics are written last."""
    baselines = Baselines(run.model, parts.training)
    seconds = run.history["seconds"]
    per_epoch = statistics.median(seconds[1:] or seconds)  # the first epoch compiles
    metrics = {
        "evaluated_on": parts.evaluated_on,
        **measure(run.model, parts.test, baselines),
        "epochs": len(run.history["epoch"]),
        "seconds_per_epoch": per_epoch,
        "images_per_second": round(steps * batch_size / per_epoch),
        "parameters": run.model.count_params(),
    }
    if folder is not None:
        folder.save_picture("reconstructions.png", picture(run.model, parts.test, baselines))
        folder.save_picture("history.png", plots.history(run.history))
        folder.write_json(METRICS, metrics)
        folder.remove_checkpoints()
    return metrics


def _continue(folder, model) -> tuple[int, list, bytes]:
    """Takes model and optimizer of the newest checkpoint; returns its epochs, rows and state."""
    done, state = 0, b""
    if folder.checkpoint:
        checkpoint, done = folder.checkpoint
        take_state(model, load_model(checkpoint))
        state = folder.read_state()
        folder.remove_checkpoints(but=done)
    return done, folder.keep_history(done) if folder.exists else [], state


def _finished(folder, model, workers) -> Run:
    """A finished run as it is; where there are several workers, in the model of each."""
    rows = metrics = path = None
    with workers.together():
        if folder is not None:
            print(f"{folder.path} holds a finished run already.", file=sys.stderr)
            folder.remove_checkpoints()  # a kill may have left some
            rows, metrics, path = folder.read_history(), folder.read_json(METRICS), folder.path
            found = load_model(folder.path / MODEL)
            if workers.workers == 1:
                model = found
            else:
                take_state(model, found)
    rows, metrics = workers.from_chief([rows, metrics])
    workers.same_state(model)
    return Run(model, columns(rows), metrics, path)


def _say_interrupted(run, epochs):
    where = f"; {run.folder / MODEL} holds it, and resume goes on" if run.folder else ""
    done = len(run.history.get("epoch", ()))
    print(f"Interrupted after {done} of {epochs} epochs: the model keeps what it learnt{where}.",
          file=sys.stderr)  # fmt: skip
