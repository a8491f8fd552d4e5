"""Callbacks of the training recipe, of use with any `fit`."""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
import time

import keras
import numpy as np

from aezoo.backends.engine import scope_of, workers_of
from aezoo.inputs.arguments import check_number, check_positive_integer
from aezoo.inputs.arrays import batches, inputs_of, to_numpy


class Progress(keras.callbacks.Callback):
    """One progress bar for a whole training, with the time left.

    In a terminal it is a bar that moves with the batches; elsewhere one line per epoch.

    Args:
        epochs: Total number of epochs.
        stream: Where to write; None is the standard error stream.

    Example:

    >>> model = aezoo.dense_ae((64,), 8)
    >>> x = aezoo.data.arrays("digits").reshape(-1, 64)
    >>> history = model.fit(x, verbose=0, callbacks=[aezoo.callbacks.Progress(1, sys.stdout)])
    ... # doctest: +ELLIPSIS
    epoch 1/1 loss 0... mse 0... (...s, 0:00:00 left)
    """

    # The fused loop may call it once per block of steps, which is enough for a bar.
    sees_blocks = True

    def __init__(self, epochs: int, stream=None):
        super().__init__()
        self._epochs = check_positive_integer("epochs", epochs)
        self._stream = sys.stderr if stream is None else stream
        if not hasattr(self._stream, "write"):
            raise ValueError(f"`stream` must be a stream or None. Received: {stream!r}")
        self._bar = None

    def on_train_begin(self, logs=None):
        self._first = None
        self._start = time.perf_counter()
        if self._stream.isatty():
            # Only a terminal needs Rich, whose class `Progress` has that name in this method alone.
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TimeRemainingColumn(),
                console=Console(file=self._stream),
            )
            self._task = self._bar.add_task("starting", total=self._epochs)
            self._bar.start()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._begun = time.perf_counter()
        self._first = epoch if self._first is None else self._first

    def on_train_batch_end(self, batch, logs=None):
        if self._bar is not None and self.params.get("steps"):
            # Keras numbers a block by the end of a full one, which may lie beyond the last step.
            done = self._epoch + min(1, (batch + 1) / self.params["steps"])
            self._bar.update(self._task, completed=done)

    def on_epoch_end(self, epoch, logs=None):
        now = time.perf_counter()
        figures = " ".join(f"{name} {value:.5f}" for name, value in (logs or {}).items())
        text = f"epoch {epoch + 1}/{self._epochs} {figures}"
        if self._bar is not None:
            self._bar.update(self._task, completed=epoch + 1, description=text)
            return
        # A training that is resumed begins at a later epoch, so only epochs of this one count.
        done = epoch + 1 - self._first
        left = int((now - self._start) / done * (self._epochs - epoch - 1))
        clock = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
        print(f"{text} ({now - self._begun:.1f}s, {clock} left)", file=self._stream, flush=True)

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        """Removes the bar, also after a training that was interrupted."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class StopOnNaN(keras.callbacks.Callback):
    """Stops after the first epoch whose loss is not finite, and restores the state before it.

    Model and optimizer then have the values that they had at the end of the epoch before.
    """

    failed_epoch: int | None = None

    def on_epoch_begin(self, epoch, logs=None):
        self._kept = self._state()

    def on_epoch_end(self, epoch, logs=None):
        # Keras's `TerminateOnNaN` looks at the loss of every batch, which costs speed; one batch
        # that is not finite makes the mean over the epoch so as well.
        if not np.isfinite((logs or {}).get("loss", 0.0)):
            self.failed_epoch = epoch
            self.model.stop_training = True
            self._go_back(self._kept)

    def first_to_fail(self, data) -> str:
        """Names the first term of the loss that is not finite, and its step.

        Trains the failed epoch again, batch by batch, and restores the state before it.

        Args:
            data: The dataset of the training.
        """
        # The optimizer may be another one than in `fit`, as the recipe compiles again after it.
        before = self._state()
        found = "no term did when the epoch was trained again"
        for step, batch in enumerate(batches(data)):
            terms = self.model.train_on_batch(inputs_of(batch), return_dict=True)
            bad = [name for name, value in terms.items() if not np.all(np.isfinite(value))]
            if bad:
                terms = [name for name in bad if name != "loss"]
                # All terms fail at once only if the weights were not finite before this step:
                # then the gradient of the step before made them so.
                all_of_them = len(bad) == len(self.model.metrics_names)
                what = "the gradient of the step before" if all_of_them else " and ".join(terms)
                found = f"{what or 'loss'} went first, at step {step + 1}"
                break
        self._go_back(before)
        return found

    def _state(self):
        """All variables of model and optimizer, each with its value."""
        # Copies on the host, because the steps of the epoch overwrite variables in place.
        kept = [*self.model.weights, *self.model.optimizer.variables]
        return [(variable, to_numpy(keras.ops.convert_to_tensor(variable))) for variable in kept]

    def _go_back(self, state):
        for variable, value in state:
            variable.assign(value)
        known = {id(variable) for variable, _ in state}
        optimizer = self.model.optimizer
        if all(id(variable) in known for variable in optimizer.variables):
            return
        # Its first step made moments and the like, which do not all begin at 0: a new one tells.
        with scope_of(self.model):
            fresh = type(optimizer).from_config(optimizer.get_config())
            fresh.build(self.model.trainable_variables)
        for variable, start in zip(optimizer.variables, fresh.variables, strict=True):
            if id(variable) not in known:
                variable.assign(to_numpy(keras.ops.convert_to_tensor(start)))


class TimeBudget(keras.callbacks.Callback):
    """Ends a training when its time is over, also in the middle of an epoch.

    Time counts from the beginning of `fit`, so it includes compilation. The learning rate falls
    along a cosine to 0 in that time, unless the optimizer has a schedule of its own; after the
    training it has its first value again.

    Args:
        seconds: How long the training may take.
        decay: Whether the learning rate falls.

    Raises:
        ValueError: in `fit`, if several workers train, as their clocks differ.

    Example:

    >>> model = aezoo.dense_ae((64,), 8)
    >>> x = aezoo.data.arrays("digits").reshape(-1, 64)
    >>> budget = aezoo.callbacks.TimeBudget(0.5)
    >>> history = model.fit(x, epochs=10_000, verbose=0, callbacks=[budget])
    >>> len(history.epoch) < 10_000
    True
    """

    # Told once per block, it may end a training late, by up to one block of steps.
    sees_blocks = True

    def __init__(self, seconds: float, decay: bool = True):
        super().__init__()
        self._seconds = check_number("seconds", seconds, 0)
        self._decay = decay
        self._peak = None

    def on_train_begin(self, logs=None):
        workers = workers_of(self.model).workers
        if workers > 1:
            # A worker that stops a step early would leave the others waiting for its gradients.
            raise ValueError(
                "`TimeBudget` must be left out when several workers train, as each has its own "
                f"clock. Received: {workers} workers"
            )
        self._begun = time.perf_counter()
        config = inner_optimizer(self.model.optimizer).get_config()
        # In the config a schedule is a dictionary; Keras refuses to set a rate in its place.
        if self._decay and not isinstance(config.get("learning_rate"), dict):
            self._peak = config["learning_rate"]

    def on_train_batch_end(self, batch, logs=None):
        share = (time.perf_counter() - self._begun) / self._seconds if self._seconds else 1.0
        if share >= 1:
            self.model.stop_training = True
        elif self._peak is not None:
            rate = self._peak * (1 + math.cos(math.pi * share)) / 2
            self.model.optimizer.learning_rate = rate

    def on_train_end(self, logs=None):
        if self._peak is not None:
            self.model.optimizer.learning_rate = self._peak


class InterruptGently(keras.callbacks.Callback):
    """Lets the first Ctrl-C or SIGTERM end a training between two steps, not within a file.

    `fit` then raises KeyboardInterrupt, or its subclass `Terminated`. A second signal interrupts
    at once. A handler of SIGTERM that the program has set itself stays in place.
    """

    sees_blocks = True

    def __init__(self):
        super().__init__()
        self._asked = None
        self._before = {}

    def on_train_begin(self, logs=None):
        # Python lets only the main thread set the handlers of signals.
        if threading.current_thread() is threading.main_thread():
            numbers = [signal.SIGINT]
            if signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, _terminate):
                numbers.append(signal.SIGTERM)
            for number in numbers:
                # A second `fit` finds our own handler, which must not replace the original here.
                self._before.setdefault(number, signal.signal(number, self._ask))

    def on_train_batch_end(self, batch, logs=None):
        if self._asked is not None:
            raise Terminated if self._asked == signal.SIGTERM else KeyboardInterrupt

    # Answers a signal that came in the validation or while a checkpoint was written.
    on_epoch_end = on_train_batch_end

    def close(self):
        """Restores the handlers that were there before the training."""
        while self._before:
            signal.signal(*self._before.popitem())

    def _ask(self, number, frame):
        again, self._asked = self._asked is not None, number
        if again:
            self.on_train_batch_end(None)


class Terminated(KeyboardInterrupt):
    """SIGTERM came, which ends a training as Ctrl-C does."""


def _terminate(number, frame):
    raise Terminated


@contextlib.contextmanager
def terminable():
    """SIGTERM raises `Terminated` in the main thread, so that files and locks are cleaned up.

    A handler that the program has set itself stays in place.
    """
    # By default SIGTERM ends the process at once, without running any `finally`.
    takes = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    )
    if takes:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        if takes:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def inner_optimizer(optimizer):
    """The optimizer inside the loss scaling of mixed_float16, or the optimizer itself."""
    # The config of a `LossScaleOptimizer` has no learning rate of its own.
    return getattr(optimizer, "inner_optimizer", optimizer)
