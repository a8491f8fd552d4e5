"""Training on several devices and in several processes, on TensorFlow's own strategies.

A model that was made under `tf.distribute.MirroredStrategy` or
`tf.distribute.MultiWorkerMirroredStrategy` is trained here by `strategy.run` and
`strategy.reduce`. Every worker is given the same batches; each replica takes its rows of each
batch, the same number as the others or one fewer, and its gradient counts for these rows. So a
step is that of one device on the whole batch, also for a last and smaller batch. A batch of fewer
rows than replicas is filled up with a copy, which counts in the metrics and statistics of that
batch, but not in its gradient.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re

import keras
import numpy as np
import tensorflow as tf

from aezoo.backends import keras_private
from aezoo.backends.replica_step import one_share
from aezoo.backends.tensorflow_batches import Rows, from_batches, rows_of
from aezoo.backends.workers import Workers
from aezoo.inputs.arrays import batches, is_array, is_dataset, to_numpy

STRATEGIES = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)
# Far apart, so that replica 1 of a layer with seed 0 does not draw as replica 0 of one with seed 1.
BETWEEN_SEEDS = 1_000_003
# What TensorFlow raises on the workers that are left when one is gone.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


def find(model) -> Distribution | None:
    """The strategy of several replicas that a model was made under, or None."""
    strategy = getattr(model, "distribute_strategy", None)
    return _distribution(strategy) if isinstance(strategy, STRATEGIES) else None


# Once per strategy, as finding the number of its first replica calls a function for each of them.
@functools.lru_cache(maxsize=8)
def _distribution(strategy) -> Distribution:
    first = []
    strategy.experimental_distribute_values_from_function(
        lambda context: first.append(context.replica_id_in_sync_group) or tf.zeros(())
    )
    return Distribution(
        strategy, strategy.num_replicas_in_sync, len(strategy.extended.worker_devices), first[0]
    )


def begin(name: str) -> Distribution:
    """Makes a strategy, which has to come before anything else in this process."""
    # TensorFlow refuses to connect workers once its runtime has started.
    if name == "mirrored":
        return _distribution(tf.distribute.MirroredStrategy())
    return _distribution(tf.distribute.MultiWorkerMirroredStrategy())


class Replicas:
    """Communication between the replicas of a strategy, in the step of one replica."""

    @staticmethod
    def all_reduce(tensor):
        """The sum over all replicas, in the step of one."""
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensor)

    @staticmethod
    def all_gather(tensor):
        """The rows of all replicas, in the step of one."""
        gathered = tf.distribute.get_replica_context().all_gather(tensor, 0)
        # Gathering loses the static shape of the rows.
        return tf.ensure_shape(gathered, (None, *tensor.shape[1:]))

    @staticmethod
    def place(count):
        """(number of rows on the replicas before this one, number on all)."""
        context = tf.distribute.get_replica_context()
        number, replicas = context.replica_id_in_sync_group, context.num_replicas_in_sync
        counts = Replicas.all_reduce(
            tf.one_hot(number, replicas, tf.cast(count, tf.int32), 0, dtype=tf.int32)
        )
        return tf.reduce_sum(counts[:number]), tf.reduce_sum(counts)

    @staticmethod
    def is_first():
        """Whether this is the step of the first replica of all."""
        return tf.equal(tf.distribute.get_replica_context().replica_id_in_sync_group, 0)


@dataclasses.dataclass(frozen=True)
class Distribution(Workers):
    """A strategy, its replicas here and elsewhere, and communication between its workers.

    Attributes:
        strategy: The strategy of TensorFlow.
        replicas: Number of replicas on all workers.
        local: Number of replicas on this worker.
        first: Number of the first replica of this worker.
    """

    strategy: tf.distribute.Strategy
    replicas: int
    local: int
    first: int

    @property
    def in_scope(self) -> bool:
        return tf.distribute.has_strategy()

    def scope(self):
        """The scope in which variables are made."""
        return self.strategy.scope()

    @contextlib.contextmanager
    def shares(self, model, data: dict):
        """Lets `fit` or `evaluate` run on this worker's shares of the batches.

        Args:
            model: The `Autoencoder`.
            data: The arguments of `fit` or `evaluate`.

        Yields:
            The arguments with distributed datasets in place of the data.
        """
        if data.get("class_weight") is not None:
            raise ValueError(
                "`class_weight` must be left out under a strategy. "
                f"Received: {data['class_weight']!r}"
            )
        # `fit` always passes `validation_data`, be it None, and `evaluate` never does.
        steps = "steps_per_epoch" if "validation_data" in data else "steps"
        found = {**data, "y": None, "sample_weight": None, "batch_size": None, "shuffle": False}
        found["x"], found[steps] = self._shares(data, data.get(steps))
        if data.get("validation_data") is not None:
            x, y, weights = keras.utils.unpack_x_y_sample_weight(data["validation_data"])
            size = data.get("validation_batch_size") or data.get("batch_size")
            part = {"x": x, "y": y, "sample_weight": weights, "batch_size": size, "shuffle": False}
            found["validation_data"], found["validation_steps"] = self._shares(
                part, data.get("validation_steps")
            )
        with self.scope():
            keras_private.make_variables(model, _symbols(found["x"].element_spec))
            # Not for an evaluation, whose draws belong to samples and not to replicas.
            if "validation_data" in data:
                self._draw_apart(model)
        with self.naming_lost_workers(), _synchronized(model):
            yield found

    def _draw_apart(self, model):
        """Lets each replica draw its own noise."""
        counting = {  # the samples of an evaluation, which must be counted alike
            id(layer.evaluation.state)
            for layer in keras_private.all_layers(model)
            if hasattr(layer, "evaluation")
        }
        states = [
            variable
            for variable in model.non_trainable_variables
            if variable.name == "seed_generator_state" and id(variable) not in counting
        ]

        # Keras makes the states of generators without aggregation, so each replica keeps its own.
        def move():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            for state in states:
                apart = tf.cast(number, state.dtype) * tf.constant(BETWEEN_SEEDS, state.dtype)
                state.assign(state.value + tf.stack([apart, tf.zeros((), state.dtype)]))

        if states:
            self.strategy.run(move)

    def _shares(self, data: dict, steps: int | None):
        """One dataset of shares, endless where its steps are known, and these steps."""
        x, y, weights = data.get("x"), data.get("y"), data.get("sample_weight")
        if is_array(x):
            columns = [to_numpy(column) for column in (x, y, weights) if column is not None]
            shuffle = bool(data.get("shuffle", True))
            dataset = self._rows(Rows(tuple(columns), data.get("batch_size") or 32, shuffle))
        elif rows_of(x) is not None:
            dataset = self._rows(rows_of(x))
        else:
            dataset = x if is_dataset(x) else from_batches(x)
        known = int(dataset.cardinality())
        count = steps or (known if known >= 0 else None)
        # Keras counts the steps of an epoch, and the next epoch goes on in the same iterator.
        if count is not None:
            dataset = dataset.repeat()
        # `experimental_distribute_dataset` would cut batches and shard data by rules of its own.
        return self.strategy.distribute_datasets_from_function(
            lambda context: dataset.flat_map(self._pieces).prefetch(2 * self.local)
        ), count

    def _rows(self, rows: Rows):
        """Batches of arrays in memory, in the same order on every worker."""
        if rows.shuffle:
            rows = dataclasses.replace(rows, seed=self.same_seed(rows.seed))
        dataset = rows.batches()
        steps = -(-rows.samples // rows.batch_size)
        return dataset.apply(tf.data.experimental.assert_cardinality(steps))

    def _pieces(self, *batch):
        """The rows of one batch that each replica of this worker takes, and its share."""
        batch = batch[0] if len(batch) == 1 else batch
        rows = tf.shape(tf.nest.flatten(batch)[0], tf.int64)[0]

        def piece(replica):
            start, end = (rows * number // self.replicas for number in (replica, replica + 1))
            share = tf.cast(end - start, tf.float32) * self.replicas / tf.cast(rows, tf.float32)
            # A share without rows takes a copy of one; the 0 above keeps it out of the gradient.
            start = tf.minimum(start, rows - 1)
            end = tf.maximum(end, start + 1)
            return {"batch": tf.nest.map_structure(lambda part: part[start:end], batch),
                    "share": share}  # fmt: skip

        return tf.data.Dataset.range(self.first, self.first + self.local).map(piece)

    def function(self, model, step):
        """The train or test function of a model, which takes an iterator and returns metrics."""
        trains = step.__name__ == "train_step"

        def on_replica(data):
            share = 1.0
            # `train_on_batch` gives the whole batch to every replica, without a share.
            if isinstance(data, dict):
                data, share = data["batch"], data["share"]
            with one_share(share, Replicas):
                # Read after the step, in which each replica has moved its own, to be averaged.
                return step(data), [tf.convert_to_tensor(v) for v in moving if trains]

        def on_all(data):
            logs, states = self.strategy.run(on_replica, args=(data,))
            parts = [*tf.nest.flatten(logs), *states]
            means = self._means(parts)
            # A test has no states to assign.
            for variable, mean in zip(moving, means[len(logs) :], strict=False):
                variable.assign(mean)
            return tf.nest.pack_sequence_as(logs, means[: len(logs)])

        moving = _moving(model)
        called = on_all if model.run_eagerly else tf.function(on_all, reduce_retracing=True)
        return lambda iterator: called(next(iterator))

    def _means(self, parts):
        """The means over replicas of several values, in one reduction."""

        def flat(*values):
            return tf.concat([tf.reshape(tf.cast(v, tf.float32), (-1,)) for v in values], 0)

        local = [self.strategy.experimental_local_results(part) for part in parts]
        shapes = [values[0].shape for values in local]
        # As one vector, because each reduction between workers costs a round trip.
        vectors = [flat(*(values[i] for values in local)) for i in range(self.local)]
        mean = tf.add_n(vectors) / self.replicas
        if self.workers > 1:
            mean = self.strategy.reduce("SUM", mean, axis=None)
        pieces = tf.split(mean, [shape.num_elements() for shape in shapes])
        return [tf.reshape(piece, shape) for piece, shape in zip(pieces, shapes, strict=True)]

    def predict(self, network, x, batch_size: int | None = None):
        """The outputs of a network, from this worker and its devices alone."""
        found = [
            self.predict_on_batch(network, keras.utils.unpack_x_y_sample_weight(batch)[0])
            for batch in batches(x, batch_size or 32)
        ]
        return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *found)

    def predict_on_batch(self, network, x):
        """The outputs of a network for one batch, as arrays."""
        length = len(keras.tree.flatten(x)[0])
        pieces = np.array_split(np.arange(length), self.local)

        def piece(context):
            # A replica without rows computes row 0, of which `joined` keeps nothing.
            rows = pieces[context.replica_id_in_sync_group - self.first]
            start, end = (rows[0], rows[-1] + 1) if len(rows) else (0, 1)
            return keras.tree.map_structure(lambda part: tf.convert_to_tensor(part[start:end]), x)

        def joined(output):
            parts = self.strategy.experimental_local_results(output)
            kept = zip(parts, pieces, strict=True)
            return np.concatenate([to_numpy(part)[: len(rows)] for part, rows in kept])

        values = self.strategy.experimental_distribute_values_from_function(piece)
        return keras.tree.map_structure(joined, self._predict_function(network)(values))

    def _predict_function(self, network):
        """Runs on the replicas of this worker, so that metrics of layers wait for no other."""

        def call(values):
            return self.strategy.run(lambda x: network(x, training=False), args=(values,))

        if network.run_eagerly:
            return call
        # Keras would wrap and track a dictionary that is set as an attribute.
        functions = vars(network).setdefault("local_functions", {})
        return functions.setdefault("predict", tf.function(call, reduce_retracing=True))

    def sum(self, values):
        """The sum over workers of an array of each."""
        if self.workers == 1:
            return values
        # A plain tensor counts once per worker, whatever the number of its devices.
        with self.naming_lost_workers():
            return self.strategy.reduce("SUM", tf.constant(values), axis=None).numpy()

    @contextlib.contextmanager
    def naming_lost_workers(self):
        """Turns TensorFlow's report of a worker that is gone into one sentence."""
        try:
            yield
        except LOST as error:
            if self.workers == 1:
                raise
            # TensorFlow puts the node of its graph before the reason, in double braces.
            reason = re.sub(r"\{\{.*?\}\}\s*", "", str(error)).strip().splitlines()[0]
            raise ConnectionError(
                "Another worker of this job stopped or cannot be reached, and none can go on "
                "alone; start all of them again, with resume if they run aezoo.train. "
                f"Received: {reason}"
            ) from error


@contextlib.contextmanager
def _synchronized(model):
    """Batch normalisations take mean and variance over the batches of all replicas.

    They do so only during training, as a model that is saved like that loads on no other backend.
    """
    layers = [
        layer
        for layer in keras_private.all_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized
    ]
    for layer in layers:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer in layers:
            layer.synchronized = False


def _moving(layer) -> list:
    """The weights that training moves without gradients, such as running means."""
    # Frozen layers do not move theirs, and the states of random generators are not floats.
    if not layer.trainable:
        return []
    if hasattr(layer, "layers"):
        return [variable for inner in layer.layers for variable in _moving(inner)]
    return [
        variable for variable in layer.non_trainable_variables if "float" in str(variable.dtype)
    ]


def _symbols(spec):
    """The batch that a dataset of shares gives, as Keras's symbols."""

    def symbol(part):
        # The spec of a value per replica has one spec for each, and no public way to them.
        part = getattr(part, "_value_specs", [part])[0]
        return keras.KerasTensor((None, *part.shape[1:]), part.dtype.name)

    return tf.nest.map_structure(symbol, spec["batch"])
