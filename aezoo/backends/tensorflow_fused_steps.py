"""Many optimizer steps in one compiled call, behind Keras's own `fit` (TensorFlow only).

The pipeline is cut into blocks of K batches. One call of the train function takes a block
and runs K steps in one `while` loop, with forward pass, backward pass, optimizer, metrics
and noise inside. Each step is Keras's own `train_step` on the same batch as in Keras's own
loop, so the result is the same up to rounding, except for noise, which XLA draws differently. Only
what Keras does around a step is left out. The last block of an epoch is padded to K and says how
many batches it holds, so that one compilation serves all blocks.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import dis
import functools
import math
import types
import warnings

import keras
import numpy as np
import tensorflow as tf

from aezoo.backends import keras_private
from aezoo.backends.tensorflow_batches import Rows, from_batches, rows_of
from aezoo.inputs.arrays import is_array, is_dataset, to_numpy

# 60,000 images at batch 32 through a 784-128-784 net take 1.0 to 1.1 s in blocks of 64 batches on 2
# cores, and .9 to 1.0 s in blocks of 256.
LONGEST_BLOCK = 256
# A convolutional step takes milliseconds, beside which the call of a block hardly counts.
LONGEST_CONVOLUTIONAL_BLOCK = 16
# Room for 256 batches of 32 images of 28x28 pixels in uint8, which have 6.4 MB.
BLOCK_BYTES = 8 * 1024**2
# The maximum number of objects in which a model is looked for; plain values do not count.
MOST_HELD = 1000
# Per epoch: a choice by the number of all steps would let `epochs` change the training of a seed.
STEPS_WORTH_COMPILING = 100


@dataclasses.dataclass
class Blocks:
    """A pipeline of blocks.

    Attributes:
        dataset: Endless, or one epoch where `steps` is None; an element is (full batches,
            stacked and padded to K; how many of them there are; the rows of the batches
            after them; their row splits).
        steps: Number of batches in an epoch; None is unknown.
        length: K, the number of batches in a block.
    """

    dataset: tf.data.Dataset
    steps: int | None
    length: int


@contextlib.contextmanager
def blocks(model, data: dict):
    """Lets `fit` or `evaluate` run on blocks, if the result is that of Keras's own loop.

    Args:
        model: The `Autoencoder`.
        data: The arguments of `fit` or `evaluate`.

    Yields:
        The arguments with datasets of blocks in place of the data; the same arguments if
        single batches are needed, which a warning says once.
    """
    reason = _single_batches(model, data)
    if reason is not None:
        if reason:
            _say_once(reason)
        yield data
        return
    # `fit` always passes `validation_data`, be it None, and `evaluate` never does.
    trains = "validation_data" in data
    training, data = _in_blocks(model, data, trains)
    _build(model, training)
    callbacks = _as_list(data.get("callbacks"))
    seen = [callback for callback in callbacks if _sees_batches(callback)]
    log = StepLog() if seen else None
    if seen:
        data = {**data, "callbacks": [
            OnEachStep(callback, log) if callback in seen else callback for callback in callbacks
        ]}  # fmt: skip
    jit_compile = choose_jit(model, training.steps or STEPS_WORTH_COMPILING)
    kept = (model.train_function, model.test_function, model.steps_per_execution)
    # Keras makes no function of its own where there is one.
    model.train_function = _function(model, "train_step", training.length, jit_compile, log)
    # An evaluation is a few steps without gradients, which are over before XLA has compiled them.
    jit_compile = jit_compile and (model.jit_choice is True or _has_gpu())
    model.test_function = _function(model, "test_step", training.length, jit_compile, log)
    # Keras counts this number of batches for each call.
    model.steps_per_execution = training.length
    try:
        yield data
    finally:
        model.train_function, model.test_function, model.steps_per_execution = kept


def _in_blocks(model, data: dict, trains: bool):
    """The blocks to train on and the arguments that hold them.

    All data of one call is in blocks of one length, as Keras counts all batches with one length.
    """
    steps = "steps_per_epoch" if trains else "steps"
    training = _find_blocks(model, data, data.get("batch_size"), data.get(steps), trains)
    # The blocks are shuffled already, and Keras warns if it is asked to shuffle a dataset.
    found = {**data, "x": training.dataset, "y": None, "sample_weight": None, "shuffle": False}
    found = {**found, "batch_size": None, steps: training.steps}
    if data.get("validation_data") is not None:
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data["validation_data"])
        batch_size = data.get("validation_batch_size") or data.get("batch_size")
        parts = {"x": x, "y": y, "sample_weight": weights, "shuffle": False}
        asked = data.get("validation_steps")
        validation = _find_blocks(model, parts, batch_size, asked, False, training.length)
        found = {**found, "validation_data": validation.dataset}
        found["validation_steps"] = validation.steps
    return training, found


def choose_jit(model, steps: int) -> bool:
    """Whether XLA compiles the loop, for `jit_compile="auto"` and this number of steps per epoch.

    On a GPU always. On a CPU XLA's products of matrices are as fast as TensorFlow's and
    the loop around them is faster, but its convolutions are slower; and compiling takes
    as long as it saves in some hundred steps of a small net.
    """
    if model.jit_choice != "auto":
        return bool(model.jit_choice)
    if _has_gpu():
        # Keras's own choice: XLA, unless a layer or determinism forbids it.
        return bool(model.jit_compile)
    return steps >= STEPS_WORTH_COMPILING and not _has_convolutions(model)


def choose_length(model, steps: int, batch_bytes: int) -> int:
    """K: long enough that a block costs more than its call, short enough for memory."""
    longest = LONGEST_CONVOLUTIONAL_BLOCK if _has_convolutions(model) else LONGEST_BLOCK
    return max(1, min(longest, steps, BLOCK_BYTES // max(1, batch_bytes)))


def _has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _has_convolutions(model) -> bool:
    return any(
        _has_convolutions(layer) if hasattr(layer, "layers") else "Conv" in type(layer).__name__
        for layer in model.layers
    )


def _single_batches(model, data) -> str | None:
    """Why Keras's own loop has to run: "" if it was asked for, None if it need not run."""
    if model.run_eagerly or model.steps_per_execution != 1:
        return ""
    if not isinstance(data.get("shuffle", True), bool):
        return f"shuffle={data['shuffle']!r} needs Keras's own loop"
    if (
        tf.distribute.has_strategy()
        or model.distribute_strategy is not tf.distribute.get_strategy()
    ):
        return f"the model was made under a {type(model.distribute_strategy).__name__}"
    if isinstance(data.get("callbacks"), keras.callbacks.CallbackList) and any(
        map(_sees_batches, data["callbacks"].callbacks)
    ):
        return "a CallbackList holds callbacks that look at batches; pass them as a list instead"
    for callback in _as_list(data.get("callbacks")):
        if _sees_batches(callback) and _acts_on_batches(callback):
            return (
                f"the callback {type(callback).__name__} works with the model between batches; "
                "one that only reads `logs` and sets `model.stop_training` would not need them"
            )
    for x in (data["x"], data.get("validation_data")):
        if isinstance(x, keras.utils.PyDataset) and (
            x.workers > 1 or x.use_multiprocessing or x.num_batches is None
        ):
            return "only Keras can read a PyDataset with workers or without a known length"
    return None


_said: set[str] = set()


def _say_once(reason: str) -> None:
    if reason not in _said:
        _said.add(reason)
        warnings.warn(
            f"fit and evaluate take one batch per call, which is slower, as {reason}.",
            stacklevel=5,
        )


def _as_list(callbacks) -> list:
    if isinstance(callbacks, (list, tuple)):
        return list(callbacks)
    return list(getattr(callbacks, "callbacks", [] if callbacks is None else [callbacks]))


# `on_batch_begin` and `on_batch_end` are older names of the hooks of training.
HOOKS = [
    f"on_{part}batch_{moment}"
    for part in ("", "train_", "test_")
    for moment in ("begin", "end")
    if hasattr(keras.callbacks.Callback, f"on_{part}batch_{moment}")
]


def _sees_batches(callback) -> bool:
    """Whether a callback looks at single batches."""
    if getattr(callback, "sees_blocks", False):
        return False
    if isinstance(callback, (keras.callbacks.ModelCheckpoint, keras.callbacks.BackupAndRestore)):
        return callback.save_freq != "epoch"
    if isinstance(callback, (keras.callbacks.ProgbarLogger, keras.callbacks.History)):
        return False
    if isinstance(callback, keras.callbacks.TensorBoard):
        traces = keras_private.may_profile(callback)
        return callback.update_freq != "epoch" or callback.write_steps_per_second or traces
    # A LambdaCallback has its hooks on the instance.
    return any(
        hook in vars(callback)
        or getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook)
        for hook in HOOKS
    )


_ACTIVE = (keras.Layer, keras.optimizers.Optimizer, keras.Variable)
_PLAIN = (  # which hold no model, however many a callback has recorded
    *(int, float, complex, str, bytes, type(None), type),
    *(np.ndarray, np.generic, types.ModuleType),
)


def _acts_on_batches(callback) -> bool:
    """Whether a callback may read or change the model between two batches.

    Such a callback needs each step to be over before the next one begins. This is found out from
    its code and from what it holds: it does so if it touches `self.model` for more than
    `stop_training`, or if it reaches a model, a layer, an optimizer or a variable from elsewhere,
    in its attributes, in what these hold, or through the functions that it calls.
    """
    # Of Keras's own callbacks this one only reads the logs of batches.
    if isinstance(callback, keras.callbacks.TerminateOnNaN):
        return False
    if type(callback).__module__.startswith("keras.") and not isinstance(
        callback, keras.callbacks.LambdaCallback
    ):
        return True
    if _holds_a_model(callback):
        return True
    functions = [value for name, value in vars(callback).items() if name in HOOKS]
    for owner in type(callback).__mro__:
        if not owner.__module__.startswith(("keras.", "builtins")):
            functions += vars(owner).values()
    # Class methods and static methods have their function in `__func__`, properties in `fget`.
    functions = [getattr(value, "__func__", getattr(value, "fget", value)) for value in functions]
    return any(
        # Code that is not Python cannot be read, and may do anything.
        not isinstance(function, types.FunctionType) or _touches_a_model(function)
        for function in functions
        if callable(function)
    )


def _holds_a_model(value, seen=None) -> bool:
    """Whether a model or a part of one can be reached through attributes and containers."""
    seen = set() if seen is None else seen
    if isinstance(value, _ACTIVE):
        return True
    if id(value) in seen or len(seen) > MOST_HELD or isinstance(value, _PLAIN):
        return False
    seen.add(id(value))
    if isinstance(value, dict):
        inside = value.values()
    elif isinstance(value, (list, tuple, set, frozenset, collections.deque)):
        inside = value
    elif isinstance(value, types.MethodType):
        inside = [value.__self__]
    elif isinstance(value, types.FunctionType):
        inside = [*_closure(value).values(), *(value.__defaults__ or ())]
    elif isinstance(value, functools.partial):
        inside = [value.func, *value.args, *value.keywords.values()]
    else:
        inside = [
            part
            for key, part in getattr(value, "__dict__", {}).items()
            if key != keras_private.MODEL_OF_A_CALLBACK
        ]
    return any(_holds_a_model(part, seen) for part in inside)


def _touches_a_model(function, seen=()) -> bool:
    # `self.model.stop_training` reads `model` and then that attribute; any other use counts.
    instructions = _instructions(function.__code__)
    for one, following in zip(instructions, [*instructions[1:], None], strict=True):
        if one.argval in ("model", keras_private.MODEL_OF_A_CALLBACK) and one.opname.startswith(
            ("LOAD", "STORE")
        ):
            asked = following.argval if following and following.opname.endswith("ATTR") else None
            if asked != "stop_training":
                return True
    known = {**function.__globals__, **_closure(function)}
    # Globals and variables of enclosing functions may be a model, or hold one.
    names = {one.argval for one in instructions if isinstance(one.argval, str)}
    for value in [known[name] for name in names if name in known]:
        if _holds_a_model(value):
            return True
        own = isinstance(value, types.FunctionType) and _package(value) == _package(function)
        if own and value not in (*seen, function) and _touches_a_model(value, (*seen, function)):
            return True
    return False


def _package(function) -> str:
    return (function.__module__ or "").split(".")[0]


def _instructions(code) -> list:
    """Those of a function, and of the functions and comprehensions inside it."""
    # The code of inner functions is among the constants of the outer one.
    inner = [part for part in code.co_consts if isinstance(part, types.CodeType)]
    return [*dis.get_instructions(code), *(i for part in inner for i in _instructions(part))]


def _closure(function) -> dict:
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not filled yet
            found[name] = cell.cell_contents
    return found


class StepLog:
    """The logs of each step of the last block, for callbacks that look at batches."""

    steps: list[dict] = ()


class OnEachStep(keras.callbacks.Callback):
    """Tells a callback of every step of a block, once the block is over."""

    sees_blocks = True

    def __init__(self, callback, log: StepLog):
        super().__init__()
        self.callback, self.log = callback, log

    def __getattr__(self, name):
        # `copy` and `pickle` ask for such names before there is a `callback`, and would not end.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.callback, name)

    def set_model(self, model):
        super().set_model(model)
        self.callback.set_model(model)

    def set_params(self, params):
        super().set_params(params)
        self.callback.set_params(params)

    def on_train_batch_end(self, batch, logs=None):
        self._replay("train", batch)

    def on_test_batch_end(self, batch, logs=None):
        self._replay("test", batch)

    def _replay(self, part, last):
        steps = self.log.steps
        # Keras numbers a block by its last batch, as if it were full.
        first = last + 1 - self.model.steps_per_execution
        for step, logs in enumerate(steps, first):
            getattr(self.callback, f"on_{part}_batch_begin")(step, None)
            getattr(self.callback, f"on_{part}_batch_end")(step, logs)
            # The block was trained to its end; the callback sees no more of it, as in Keras's loop.
            if part == "train" and self.model.stop_training:
                break


def _passed_on(name):
    def call(self, *args, **kwargs):
        return getattr(self.callback, name)(*args, **kwargs)

    return call


# `Callback` has these hooks itself, so `__getattr__` is never asked for them.
for _name in (
    "on_epoch_begin", "on_epoch_end", "on_train_begin", "on_train_end", "on_test_begin",
    "on_test_end",
):  # fmt: skip
    setattr(OnEachStep, _name, _passed_on(_name))


def _find_blocks(model, data, batch_size, steps_asked, trains: bool, length=None) -> Blocks:
    """The blocks of any data; shorter epochs go on in the data where the last one ended."""
    x, rows = data["x"], None
    if is_array(x):
        rows = _array_rows(x, data.get("y"), data.get("sample_weight"), batch_size or 32, data)
    elif is_dataset(x):
        rows = rows_of(x)
    else:
        x = from_batches(x, isinstance(x, keras.utils.PyDataset) and data.get("shuffle", True))
    if rows is not None:
        steps = math.ceil(rows.samples / rows.batch_size)
        length = length or choose_length(model, steps_asked or steps, rows.batch_bytes)
        if steps_asked in (None, steps):
            return Blocks(rows.blocks(length), steps, length)
        # The pipeline of rows does not know its length.
        x, size, known = rows.batches(), rows.batch_size, steps
    else:
        # A generator must not be asked for a batch, which it would not give again.
        first = getattr(x, "aezoo_first", None)
        first = tf.nest.flatten(next(iter(x)) if first is None else first)
        size = int(first[0].shape[0])
        batch_bytes = sum(np.asarray(part).nbytes for part in first)
        known = int(x.cardinality())
        steps = known if known > 0 else None
        length = length or choose_length(model, steps_asked or steps or LONGEST_BLOCK, batch_bytes)
    if steps_asked is not None and steps_asked != known:
        # As in Keras's loop, training goes on where the last epoch ended; evaluations begin anew.
        if trains:
            steps = steps_asked
            x = x if known == tf.data.INFINITE_CARDINALITY else x.repeat()
        else:
            steps = steps_asked if known < 0 else min(steps_asked, known)
            x = x.take(steps)
    stacked = _stacked(x, size, length, steps if trains and steps != known else None)
    # `fit` takes one iterator for all epochs if it knows their steps, so the data must not end.
    endless = stacked if steps is None else stacked.repeat()
    return Blocks(endless.prefetch(2), steps, length)


def _array_rows(x, y, sample_weight, batch_size, data) -> Rows:
    """Arrays as Keras takes them: 64-bit floats become Keras's float."""
    columns = [to_numpy(column) for column in (x, y, sample_weight) if column is not None]
    for i, column in enumerate(columns):
        if np.issubdtype(column.dtype, np.floating):
            columns[i] = column.astype(keras.config.floatx(), copy=False)
    return Rows(tuple(columns), batch_size, data.get("shuffle", True))


def _stacked(dataset, size: int, length: int, epoch: int | None = None):
    """Blocks of any batched dataset: first the leading batches of `size` rows, then the others.

    If an epoch is `epoch` batches of a dataset that goes on, each epoch begins a new block.
    """

    def cut(*parts):
        # `ragged_batch` gives dense tensors if the shape of every batch is known.
        parts = [
            part if isinstance(part, tf.RaggedTensor) else tf.RaggedTensor.from_tensor(part)
            for part in tf.nest.flatten(parts)
        ]
        lengths = parts[0].row_lengths()
        # The cumulative product drops to 0 at the first batch of another size.
        count = tf.reduce_sum(tf.math.cumprod(tf.cast(lengths == size, tf.int32)))
        splits = parts[0].row_splits[count:]
        full, rest = [], []
        for part, spec in zip(parts, specs, strict=True):
            rows, shape = part.flat_values, spec.shape[1:]
            padding = [[0, (length - count) * size], *[[0, 0]] * len(shape)]
            padded = tf.pad(rows[: count * size], padding)
            full.append(tf.reshape(padded, (length, size, *shape)))
            rest.append(rows[splits[0] :])
        pack = lambda parts: tf.nest.pack_sequence_as(structure, parts)  # noqa: E731
        return pack(full), count, pack(rest), splits - splits[0]

    structure = dataset.element_spec
    specs = tf.nest.flatten(structure)
    if epoch is None or epoch % length == 0:
        return dataset.ragged_batch(length).map(cut)
    in_epoch, last = math.ceil(epoch / length), epoch % length
    # The key is the number of a block over all epochs; the last one of an epoch has fewer batches.
    grouped = dataset.enumerate().group_by_window(
        lambda step, _: step // epoch * in_epoch + step % epoch // length,
        lambda _, group: group.map(lambda step, batch: batch).ragged_batch(length),
        window_size_func=lambda block: tf.where(
            (block + 1) % in_epoch == 0, tf.constant(last, tf.int64), length
        ),
    )
    return grouped.map(cut)


def _build(model, blocks: Blocks) -> None:
    """Metrics and optimizer get their variables before the loop is traced."""
    # Without the dimension of the block.
    batch = tf.nest.map_structure(
        lambda spec: keras.KerasTensor(spec.shape[1:], spec.dtype.name),
        blocks.dataset.element_spec[0],
    )
    keras_private.make_variables(model, batch)


def _function(model, step: str, length: int, jit_compile: bool, log: StepLog | None):
    """The train or test function that takes a block; made once for each compilation."""
    # `compile` empties the cache, as functions keep the optimizer and loss of their tracing.
    key = (step, length, jit_compile, log is not None)
    if key not in model.fused_functions:
        model.fused_functions[key] = _make_function(model, getattr(model, step), *key[1:])
    take_block = model.fused_functions[key]
    if log is None:
        return lambda iterator: take_block(iterator)[0]

    def take_and_tell(iterator):
        logs, of_steps = take_block(iterator)
        of_steps = {name: np.concatenate([part.numpy() for part in parts])
                    for name, parts in of_steps.items()}  # fmt: skip
        rows = zip(*of_steps.values(), strict=True)
        log.steps = [dict(zip(of_steps, map(float, row), strict=True)) for row in rows]
        return logs

    return take_and_tell


def _make_function(model, step, length: int, jit_compile: bool, tells: bool):
    """A function from an iterator of blocks to (logs, logs of each step if callbacks need them)."""

    def loop(count, most, batch):
        """`count` steps on `batch(i)`; the logs of each, padded to `most` entries."""
        if not tells:

            def body(i):
                step(batch(i))
                return (i + 1,)

            # A step begins with the variables that the one before left, so none may run beside it.
            tf.while_loop(lambda i: i < count, body, (0,), parallel_iterations=1)
            return {}
        names = sorted(model.get_metrics_result())
        # XLA needs a size that is known in tracing, so the arrays have that of a full block.
        arrays = {name: tf.TensorArray("float32", most, element_shape=()) for name in names}

        def body(i, arrays):
            logs = step(batch(i))
            written = {
                name: array.write(i, tf.cast(logs[name], "float32"))
                for name, array in arrays.items()
            }
            return i + 1, written

        _, arrays = tf.while_loop(lambda i, _: i < count, body, (0, arrays), parallel_iterations=1)
        return {name: array.stack() for name, array in arrays.items()}

    def run(full, count):
        return loop(count, length, lambda i: tf.nest.map_structure(lambda part: part[i], full))

    # Without autograph, as Keras traces its own train function.
    compiled = tf.function(run, jit_compile=jit_compile, autograph=False)

    def take_block(iterator):
        full, count, rest, splits = iterator.get_next()
        told = {name: [values[:count]] for name, values in compiled(full, count).items()}
        if tf.nest.flatten(rest)[0].shape[0] != 0:
            # In the graph: XLA would compile the loop again for every size of batch.
            more = tf.size(splits) - 1
            behind = loop(
                more, more,
                lambda i: tf.nest.map_structure(lambda part: part[splits[i] : splits[i + 1]], rest),
            )  # fmt: skip
            told = {name: [*told[name], values] for name, values in behind.items()} or told
        return model.get_metrics_result(), told

    # The number of rows behind the full batches varies from block to block.
    return tf.function(take_block, autograph=False, reduce_retracing=True)
