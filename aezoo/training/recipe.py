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
from typing import Annotated

import keras
from annotated_types import Interval

import aezoo.plots as plots
from aezoo.backends.engine import workers_of
from aezoo.callbacks import InterruptGently, Progress, StopOnNaN, Terminated, terminable
from aezoo.inputs.annotations import Flag, Number, Seed, Share, Size, Verbose, checked
from aezoo.inputs.arguments import check_path
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

# Under stronger maps nothing is left of an image but its edge, which goes on beyond it.
Augment = Annotated[Number, Interval(ge=0, le=10)]


@dataclasses.dataclass
class Run:
    """What `aezoo.train` returns.

    Attributes:
        model: The trained `Autoencoder`.
        history: From column to values, one per epoch: epoch, loss, mse, seconds, ...
        metrics: Metrics of the model and of PCA on the test data; empty if interrupted.
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


@checked
@terminable()
def train(
    model: ReconstructionModel,
    data,
    epochs: Size | None = None,
    out: str | pathlib.Path | None = None,
    *,
    batch_size: Size = 128,
    validation_split: float | None = None,
    validation_data=None,
    test_data=None,
    early_stopping: Size | None = None,
    warmup: Share = 0.05,
    augment: Augment = 0.0,
    image_size: int | tuple[int, int] | None = None,
    limit: Size | None = None,
    seed: Seed = None,
    data_dir: str | None = None,
    callbacks: tuple[keras.callbacks.Callback, ...] = (),
    resume: Flag = False,
    overwrite: Flag = False,
    verbose: Verbose = True,
) -> Run:
    """Trains a model by the recipe: warm-up, cosine decay, history, test metrics.

    The model is compiled with a new optimizer, whose schedule has the model's learning rate as
    its peak, unless the optimizer has a schedule of its own; afterwards the model has that
    learning rate again, so that `fit` can continue. Ctrl-C and SIGTERM keep what was learnt.

    If a model was made under `tf.distribute.MultiWorkerMirroredStrategy`, every worker makes
    this call, outside the scope; `batch_size` is the total of all workers. Only the chief reads
    and writes `out` and plots pictures; all workers return its metrics.

    Args:
        model: A compiled `Autoencoder`.
        data: A source as in `aezoo.data.load`, or a `tf.data.Dataset` of batches.
        epochs: Number of passes over the data; None is 20, or 1 for a closed form.
        out: Folder for model.keras, config.json, history.csv, metrics.json,
            reconstructions.png and history.png; None writes nothing.
        batch_size: Samples per batch.
        validation_split: Share of the training data that is held out. None is 0.1 where
            it is needed, for early stopping or a source without a test split, else 0.
        validation_data: Dataset for val_loss, instead of a split.
        test_data: Dataset for the metrics at the end; None is the source's test split,
            else the validation data, else the training data.
        early_stopping: Epochs without a better val_loss after which the training stops
            with the best weights; None trains all epochs.
        warmup: Share of the steps in which the learning rate rises.
        augment: Strength of the affine maps (see `AffineCorruption`) that are applied to training
            images, the same to input and target; 0 is none. 0.05 suits small data sets.
        image_size: As in `aezoo.data.load`.
        limit: Maximum number of training samples.
        seed: Integer that fixes the order of the samples and the augmentation; None draws
            one, which config.json keeps.
        data_dir: As in `aezoo.data.load`.
        callbacks: More Keras callbacks.
        resume: Whether a killed run in `out` continues from its last finished
            epoch; a finished one is returned as it is. Weights, optimizer, random draws,
            the order of the samples and early stopping continue as if nothing had happened;
            a `tf.data.Dataset` of your own and `callbacks` start afresh.
        overwrite: Whether an earlier run in `out` may be replaced. A folder that another
            training writes to is refused in any case.
        verbose: Whether to show the progress; 0, 1 and 2, as Keras has them, are no and yes.

    Returns:
        A `Run`.

    Raises:
        ValueError: if an argument or the data cannot be right; nothing was written.
        ConnectionError: if another worker stopped; `resume` continues once all of them run again.
        FloatingPointError: if the loss became NaN; the last good model is kept.

    Example:

    >>> model = aezoo.dense_ae((8, 8, 1), latent_dim=8, hidden_units=(256, 64), seed=0)
    >>> run = aezoo.train(model, "digits", epochs=60, verbose=False)
    >>> run.metrics["mse"] < run.metrics["pca"]["mse"]
    True
    """
    if not isinstance(callbacks, (tuple, list)):
        raise ValueError(f"`callbacks` must be a tuple of Keras callbacks. Received: {callbacks!r}")
    check_fit_options({"callbacks": callbacks})
    if not isinstance(model, ReconstructionModel) or not model.compiled:
        raise ValueError(f"`model` must be a compiled Autoencoder. Received: {model!r}")
    if len(model.inputs) > 1:
        raise ValueError(
            "`model` must take inputs alone; model.fit(data.load(..., labels=True)) trains a "
            f"conditional one. Received: {model!r}"
        )
    epochs = model.usual_epochs if epochs is None else epochs
    workers = workers_of(model)
    folder = None
    if out is not None:
        out = check_path("out", out)
        # Only the chief touches the folder; on all other workers it is None from here on.
        folder = RunFolder(out) if workers.chief else None
    # In `together`, an error of the chief is one on every worker: the others would wait for it.
    with workers.together():
        # The order of the samples and the augmentation continue only from the same seed.
        if seed is None and resume and folder is not None and folder.exists:
            seed = folder.read_config()["training"].get("seed")
    # From Python's generator, which `keras.utils.set_random_seed` seeds with all others, so that a
    # program that seeds itself draws the same one each time.
    seed = workers.same_seed(random.getrandbits(31) if seed is None else seed)
    parts = find_parts(
        data, validation_data, test_data, validation_split, early_stopping is not None,
        batch_size=batch_size, image_size=image_size, limit=limit, seed=seed, data_dir=data_dir,
    )  # fmt: skip
    # Before the folder is made, so that data that are refused leave nothing behind.
    for part in (parts.training, parts.validation, parts.test):
        if part is not None:
            check_training_data(model, part)
    # Only what is trained on is moved: the baselines below are fitted to the images as they are.
    learnt = parts.training
    if augment:
        from aezoo.training.tensorflow_augment import augmented

        learnt = augmented(parts.training, augment, seed)
    # The lock of the folder is held until its last file is written.
    with contextlib.ExitStack() as held:
        with workers.together():
            if folder is not None:
                held.enter_context(folder.prepared(resume=resume, overwrite=overwrite))
        done, rows, state = 0, [], b""
        # All workers must take the same branch, and only the chief sees the folder.
        if workers.from_chief(bool(folder and resume and folder.finished)):
            return _finished(folder, model, workers)
        # Before the checkpoint is taken, as compiling makes an optimizer without state.
        peak, steps = begin_schedule(model, parts.training, epochs, warmup)
        if resume:
            with workers.together():
                if folder is not None:
                    done, rows, state = _continue(folder, model)
            # What goes from worker to worker is JSON, which holds no bytes.
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
            # Before the first step: `resume` needs it after a kill.
            folder.write_json(CONFIG, configuration(model, data, settings, parts.held_out))
        patience = Patience(early_stopping, state) if early_stopping is not None else None
        recorder = Recorder(folder, rows, patience)
        watch, progress = StopOnNaN(), Progress(epochs) if verbose and workers.chief else None
        gently = InterruptGently()
        # They are called in this order: early stopping before the recorder, which saves its state
        # of that epoch; the interruption last, when the files of the epoch are whole.
        used = [watch, recorder, *([progress] if progress else []), *callbacks, gently]
        if patience is not None:
            used.insert(0, patience)
        stopped = None
        try:
            # A kill may have come after the last epoch, when only the metrics are missing.
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
        # The plain learning rate, so that a `fit` after this one does not start at a rate of 0.
        if peak is not None:
            compile_again(model, peak, keep_state=True)
        # Before the model is saved: the last good checkpoint is what `resume` finds.
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
    """Measures, plots and closes the run folder; the metrics are written last."""
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
    # An empty folder is no run yet: `resume` begins one there.
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
                # Variables of several workers are those that were made in their strategy's scope.
                take_state(model, found)
    rows, metrics = workers.from_chief([rows, metrics])
    workers.same_state(model)
    return Run(model, columns(rows), metrics, path)


def _say_interrupted(run, epochs):
    where = f"; {run.folder / MODEL} holds it, and resume continues it" if run.folder else ""
    done = len(run.history.get("epoch", ()))
    print(f"Interrupted after {done} of {epochs} epochs: the model keeps what it learnt{where}.",
          file=sys.stderr)  # fmt: skip
