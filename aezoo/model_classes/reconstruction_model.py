"""The `ReconstructionModel`: a functional Keras model that is trained to return its input."""

from __future__ import annotations

import itertools

import keras
import numpy as np
from keras import ops

from aezoo.backends import keras_private
from aezoo.backends.engine import (
    blocks_of,
    guarded,
    keeping_variables,
    predict,
    scope_of,
    without_retracing_warnings,
)
from aezoo.backends.replica_step import weigh
from aezoo.callbacks import StopOnNaN
from aezoo.inputs.arguments import as_json, check_positive_integer, check_seed
from aezoo.inputs.arrays import (
    as_array,
    batches,
    check_batches,
    inputs_of,
    is_array,
    is_dataset,
    joined,
    recut,
    samples_of,
    to_numpy,
)
from aezoo.inputs.pixels import scale_pixels
from aezoo.inputs.training_data import (
    check_ends,
    check_fit_options,
    check_inputs,
    check_targets,
    check_training_data,
    check_weights,
    naming_bad_batches,
    split_arrays,
)
from aezoo.layers._draws import EvaluationDraws
from aezoo.layers.reporting import collecting, collects, one_step
from aezoo.model_classes.labels import labelled, labelled_parts
from aezoo.model_classes.pixel_model import PixelRule

VALIDATION_SEED = 0


@keras.saving.register_keras_serializable("aezoo")
class ReconstructionModel(PixelRule, keras.Model):
    """A model from inputs to reconstructions, trained by `fit` on inputs alone.

    An `Autoencoder` is one that has an encoder, a code and a decoder; `unet_ae` makes one that
    has none of them. uint8 and uint16 inputs are images and are scaled to [0, 1] wherever they
    enter; floats are taken as they are; other integers are refused. Noise belongs to training:
    `reconstruct` and `reconstruction_error` give the same result each time.

    A model with two inputs is conditional: every sample comes with its class. Where it takes
    inputs as an array, `labels` are an array of integers, or one integer for all; datasets hold
    (inputs, labels), as `aezoo.data.load(..., labels=True)` makes them, and train fastest.

    Example:

    >>> model = aezoo.unet_ae((8, 8, 1), filters=(8, 16), level=0.2, seed=0)
    >>> x = aezoo.data.arrays("digits")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> noisy = model.corrupt(x, seed=0)
    >>> model.reconstruct(noisy).shape, model.reconstruction_error(x).shape
    ((1437, 8, 8, 1), (1437,))
    """

    usual_epochs = 20  # of `aezoo.train`
    recipe = None  # {"model": the factory, "arguments": what it was given}
    weighs_errors = False  # whether `mse` takes the weights that the family gives to elements

    @property
    def code_size(self) -> int | None:
        """How many numbers the code of a sample has; None of a model without a code."""
        return None

    @property
    def num_classes(self) -> int | None:
        """The number of classes of a conditional model, or None."""
        layers = keras_private.all_layers(self)
        return next((layer.input_dim for layer in layers if layer.name == "label_offset"), None)

    @property
    def corruption(self) -> keras.layers.Layer | None:
        """The layer that corrupts inputs in training, or None."""
        return next((layer for layer in self.layers if layer.name == "corruption"), None)

    def reconstruct(self, x, batch_size: int = 256, *, labels=None) -> np.ndarray:
        """The reconstructions of `x`; a denoising model denoises.

        Args:
            x: Array (samples, *input_shape), or a dataset of batches of it; labels behind the
                inputs are ignored.
            batch_size: How many samples of an array go through at once.
            labels: The classes of an array of samples, for a conditional model.

        Returns:
            Array (samples, *input_shape).

        Raises:
            ValueError: if shape or dtype do not fit the model.
        """
        return self._predict(self, x, batch_size, labels)

    def reconstruction_error(self, x, batch_size: int = 256, *, labels=None) -> np.ndarray:
        """The squared error of each sample, averaged over its elements.

        Args:
            x: As in `reconstruct`. Pixels are compared in [0, 1].
            batch_size: How many samples of an array go through at once.
            labels: As in `reconstruct`.

        Returns:
            Array (samples,).

        Raises:
            ValueError: if shape or dtype do not fit the model.
        """
        errors = []
        for batch in batches(self._checked(self, x, labels, batch_size), batch_size):
            clean = to_numpy(scale_pixels(samples_of(batch)))
            errors.append(self._sample_errors(clean, self.predict_on_batch(inputs_of(batch))))
        return joined(errors)

    def _sample_errors(self, clean, reconstruction):
        """The mean squared error of each sample, from two arrays."""
        squares = np.square(clean - reconstruction)
        return squares.mean(axis=tuple(range(1, squares.ndim)))

    def corrupt(self, x, seed: int | None = None, batch_size: int = 256) -> np.ndarray:
        """What the net sees of `x` in training.

        Args:
            x: As in `reconstruct`.
            seed: An integer for corruption that can be repeated; None draws anew. A
                corruption layer without a `seed` in its configuration draws anew always.
            batch_size: How many samples of an array are corrupted at once.

        Returns:
            Array (samples, *input_shape), float.

        Raises:
            ValueError: if the model has no corruption.
        """
        check_seed("seed", seed)
        pairs = self._corrupted_pairs(self._checked(self, x), seed, batch_size)
        return joined([to_numpy(pair[0]) for pair in pairs])

    def fit(
        self,
        x=None,
        y=None,
        batch_size: int | None = None,
        epochs: int = 1,
        *,
        labels=None,
        validation_split: float = 0.0,
        validation_data=None,
        **options,
    ):
        """Trains on inputs alone; `keras.Model.fit` with the target filled in.

        Args:
            x: Array (samples, *input_shape) or a dataset of batches of it. `fit(x)`,
                `fit(x, x)` and datasets of x or (x, x) train the same weights where the batches
                are the same (arrays are shuffled unless `shuffle=False`); a model without
                corruption learns (noisy, clean) pairs as well.
            y: None, or clean targets of the shape of the reconstruction; for a conditional model
                the labels, as `labels`.
            batch_size: For arrays; 32 if None.
            epochs: Number of passes over the data.
            labels: Of a conditional model, the classes of an array of samples.
            validation_split: Share of the end of an array that is kept for validation, as Keras
                has it.
            validation_data: Array, dataset, or (x, y). A model with corruption
                validates on inputs corrupted once, with a fixed seed.
            **options: As in `keras.Model.fit`.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            ValueError: before the first step, if the data cannot be right: labels as
                targets, NaN or infinity, values that the decoder cannot reach, wrong
                shape or dtype, no samples. A later batch of a dataset that cannot be right
                is named by its number when it comes.
            FloatingPointError: if the loss became NaN or infinite; the model is then what it
                was before that epoch.
        """
        counted = {"epochs": epochs, "batch_size": batch_size, "validation_split": validation_split}
        check_fit_options({**counted, **options})
        y = self._targets_or_labels(y, labels)
        if len(self.inputs) > 1:
            x, validation_data = labelled_parts(
                self, x, y, validation_data, batch_size or 32, validation_split,
                options.pop("shuffle", True),
            )  # fmt: skip
            y = batch_size = None
        y = as_array(y)
        x = check_training_data(self, as_array(x), y, options.get("steps_per_epoch"))
        if y is None and options.get("sample_weight") is not None:
            y = x  # without targets Keras would ignore the weights
        if validation_split and validation_data is None:
            x, y, options, validation_data = split_arrays(x, y, options, validation_split)
        if validation_data is not None:
            validation_data = self._validation_data(
                validation_data, options.get("validation_steps")
            )
        if not is_array(x) and not isinstance(x, keras.utils.PyDataset):
            # Keras warns of `shuffle=True`, its own default, unless x is an array (keras#22777).
            options.setdefault("shuffle", False)
        x = self._begin(x)
        if hasattr(x, "aezoo_begin"):  # made by `aezoo.data`, whose epochs have numbers
            x = x.aezoo_begin(options.get("initial_epoch") or 0)
        callbacks, watch = self._watched(options.pop("callbacks", None))
        data = {
            "x": guarded(self, x),
            "y": y,
            "batch_size": batch_size,
            "validation_data": validation_data,
            "callbacks": callbacks,
            **options,
        }
        with (
            naming_bad_batches(),
            without_retracing_warnings(),
            keeping_variables(self),
            blocks_of(self, data) as data,
        ):
            history = super().fit(epochs=epochs, **data)
        if watch is not None and watch.failed_epoch is not None:
            raise FloatingPointError(
                f"The loss became NaN or infinite in epoch {watch.failed_epoch + 1}, and the model "
                "is again what it was before; try a lower learning rate or "
                "optimizer=keras.optimizers.Adam(clipnorm=1.0). "
                f"Received: loss {history.history['loss'][-1]}"
            )
        return history

    def evaluate(self, x=None, y=None, batch_size: int | None = None, *, labels=None, **options):
        """`keras.Model.evaluate` on inputs alone; corrupts as validation in `fit` does.

        The loss and metrics of the data, as `val_loss` in `fit`; `aezoo.evaluate` makes a report.
        """
        y = self._targets_or_labels(y, labels)
        # Keras's own `fit` validates through this private argument, with data that `fit` above
        # has checked and corrupted; a second time would corrupt what is corrupted.
        if not options.get("_use_cached_eval_dataset"):
            if len(self.inputs) > 1:
                x, y = labelled(self, x, y, batch_size or 32), None
                batch_size = None
            check_fit_options({"batch_size": batch_size, **options})
            y = as_array(y)
            x = check_training_data(self, as_array(x), y, options.get("steps"))
            if self.corruption is not None:
                x, y = self._corrupted(x, y)
            data = {
                "x": guarded(self, x),
                "y": y,
                "batch_size": batch_size,
                "shuffle": False,
                **options,
            }
            # `shuffle=False` in the data: the draws of a sample go by its place in their order.
            blocks = blocks_of(self, data)
            quietly = without_retracing_warnings()
            with naming_bad_batches(), quietly, keeping_variables(self), blocks as data:
                data.pop("shuffle")
                return super().evaluate(**data)
        return super().evaluate(x, y, batch_size=batch_size, **options)

    def compile(self, *args, jit_compile: bool | str = "auto", **options):
        """`keras.Model.compile`; `jit_compile="auto"` is decided when `fit` knows the data."""
        with scope_of(self):
            super().compile(*args, jit_compile=jit_compile, **options)
        self.jit_choice = jit_compile
        # `vars`, because Keras wraps a dict that is set as an attribute and tracks what is in it.
        vars(self)["fused_functions"] = {}

    def get_config(self):
        config = {"recipe": as_json(self.recipe), "precision": self.dtype_policy.name}
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        recipe, precision = config.pop("recipe", None), config.pop("precision", None)
        model = super().from_config(config, custom_objects)
        model.recipe = recipe
        if precision is not None:  # it decides on loss scaling, whatever the policy is now
            model.dtype_policy = keras.dtype_policies.get(precision)
        return model

    def get_compile_config(self):
        config = super().get_compile_config()
        return {**config, "jit_compile": self.jit_choice} if config else config

    def compile_from_config(self, config):
        with scope_of(self):
            self.compile(**keras.saving.deserialize_keras_object(config))
            if self.built:
                # Its variables must exist before those of a file can be put into them.
                self.optimizer.build(self.trainable_variables)

    def call(self, inputs, training=None, mask=None):
        """The reconstruction; in a step of `fit` or `evaluate` a dict with all that layers tell."""
        if not collects():
            return self.reconstruct_batch(inputs, training, mask)
        with collecting() as outputs:
            reconstruction = self.reconstruct_batch(inputs, training, mask)
        return {"reconstruction": reconstruction, **outputs}

    def reconstruct_batch(self, inputs, training=None, mask=None):
        """The reconstruction of a batch, a tensor; a family overrides this and not `call`."""
        # Not named `forward`, which on PyTorch is what a layer is called by.
        return super().call(inputs, training=training, mask=mask)

    def objective(self, clean, outputs) -> dict | None:
        """What is minimised besides the penalties that layers add.

        Args:
            clean: What is to be reconstructed, (batch, *input_shape).
            outputs: {"reconstruction": (batch, *input_shape)} and in a step also what layers hand
                over, by name.

        Returns:
            {name: values per sample (batch,)}, whose sum is averaged by sample weights, or None:
            the loss that the model is compiled with.
        """
        return None

    def train_step(self, *args):
        *_, weights = keras.utils.unpack_x_y_sample_weight(args[-1])
        with one_step(weights):
            return super().train_step(*args)

    def test_step(self, *args):
        *_, weights = keras.utils.unpack_x_y_sample_weight(args[-1])
        with one_step(weights, drawing=True):
            return super().test_step(*args)

    def reset_metrics(self):
        super().reset_metrics()
        for layer in keras_private.all_layers(self):  # each epoch and each evaluation begins here
            if isinstance(getattr(layer, "evaluation", None), EvaluationDraws):
                layer.evaluation.begin()

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        outputs, clean = outputs_of(y_pred), self._target(x, y)
        reconstruction, penalties = outputs["reconstruction"], list(outputs.get("penalties", ()))
        sample_weight = _per_sample(sample_weight, reconstruction)
        terms = self.objective(clean, outputs)
        # Never a mean taken by hand: Keras scales its own for replicas, and would not scale ours.
        if terms is None:
            loss = super().compute_loss(x, clean, reconstruction, sample_weight, training)
        else:
            keras_private.without_compiled_loss(self)
            values = ops.reshape(sum(terms.values()), (-1, *[1] * (len(clean.shape) - 2)))
            loss = self._mean_of(values, sample_weight)
            penalties += self.losses  # of regularizers, which `super().compute_loss` adds
        for penalty in penalties:
            loss += keras_private.scaled_for_replicas(self, penalty)
        return weigh(loss)

    def _mean_of(self, values, sample_weight):
        """The values reduced as the compiled loss would be."""
        options = {}
        if isinstance(self.loss, keras.losses.Loss):
            options = {"reduction": self.loss.reduction, "dtype": self.loss.dtype}
        # With a name of its own: that of the class begins with _, which TensorFlow does not allow.
        return _Values(name="objective", **options)(values, values, sample_weight)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        outputs, clean = outputs_of(y_pred), self._target(x, y)
        reported = outputs.get("metrics", {})
        for metric in self.metrics:
            for values in reported.get(id(metric), ()):
                metric.update_state(*values)
        reconstruction = outputs["reconstruction"]
        sample_weight = _per_sample(sample_weight, reconstruction)
        return super().compute_metrics(x, clean, reconstruction, sample_weight)

    def _targets_or_labels(self, y, labels):
        """What Keras calls `y`: for a conditional model it is the labels."""
        if labels is None:
            return y
        self._check_labels(labels)
        if y is not None:
            raise ValueError("`y` must be left out where `labels` are given. Received: both")
        return labels

    def _begin(self, x):
        """What a family takes from the data before `fit`; returns the data to train on."""
        return x

    def _watched(self, callbacks):
        """The callbacks with one that stops at a loss that is not finite, and that one or None."""
        if isinstance(callbacks, keras.callbacks.CallbackList):
            given = callbacks.callbacks
        else:
            given = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
        given = [callback for callback in given if callback is not None]
        if any(isinstance(callback, StopOnNaN) for callback in given):
            return callbacks, None
        watch = StopOnNaN()
        if isinstance(callbacks, keras.callbacks.CallbackList):
            watch.set_model(self)
            callbacks.append(watch)
            return callbacks, watch
        return [watch, *given], watch  # first, so that no other one saves what is not finite

    def _target(self, x, y):
        """What is to be reconstructed: the clean input, where no target was given."""
        if y is None:
            return scale_pixels(x)
        check_targets(y, self.output_shape[1:])
        return scale_pixels(y)

    def _check_labels(self, labels):
        if labels is not None and len(self.inputs) < 2:
            raise ValueError(
                "`labels` must be left out for a model that takes inputs alone. "
                f"Received: labels for {self.name}"
            )

    def _checked(self, network, x, labels=None, batch_size=256):
        """Arrays are checked whole; everything else is checked by the network itself."""
        if len(network.inputs) > 1:
            x = labelled(self, x, labels, batch_size, network=network)
        self._check_labels(labels)
        x = check_batches(as_array(x))
        check_ends(x, name="a number of batches")
        if is_array(x):
            check_inputs(x, network.inputs[0].shape[1:])
        return x

    def _predict(self, network, x, batch_size, labels=None):
        check_positive_integer("batch_size", batch_size)
        return predict(network, self._checked(network, x, labels, batch_size), batch_size)

    def _validation_data(self, data, steps=None):
        x, y, *weights = (*data, None)[:3] if isinstance(data, tuple) and data else (data, None)
        weights = [weight for weight in weights if weight is not None]
        y = as_array(y)
        x = check_training_data(self, as_array(x), y, steps)
        for weight in weights:
            check_weights(to_numpy(as_array(weight)))
        if self.corruption is not None:
            x, y = self._corrupted(x, y)
        x = guarded(self, x)
        return x if y is None and not weights else (x, y, *weights)

    def _corrupted(self, x, y):
        """Evaluation data with inputs corrupted by a fixed seed, and clean targets."""
        if is_array(x):
            return self.corrupt(x, VALIDATION_SEED), x if y is None else y
        if is_dataset(x):
            from aezoo.backends.tensorflow_batches import from_pairs

            return from_pairs(lambda: self._corrupted_pairs(x, VALIDATION_SEED), x), None
        return self._corrupted_pairs(x, VALIDATION_SEED), None

    def _corrupted_pairs(self, data, seed, batch_size: int = 256):
        """(corrupted, clean, ...) for each batch; the model's own noise is not advanced.

        Samples are corrupted in blocks of `batch_size`, so that a sample has the same noise
        whatever batches it comes in.
        """
        if self.corruption is None:
            raise ValueError("The model must have a corruption layer. Received: corruption=None")
        config = self.corruption.get_config()
        if "seed" in config:
            config["seed"] = seed
        layer = type(self.corruption).from_config(config)

        def corrupted(block):
            return to_numpy(layer(scale_pixels(ops.convert_to_tensor(block)), training=True))

        # Three readers of one source: blocks of noise need other batches than those that come out.
        ahead, again, given = itertools.tee(batches(data, batch_size), 3)
        blocks = recut((to_numpy(inputs_of(one)) for one in ahead), itertools.repeat(batch_size))
        noisy = recut(map(corrupted, blocks), (len(inputs_of(one)) for one in again))
        for batch, inputs in zip(given, noisy, strict=False):
            clean, *rest = batch if isinstance(batch, (tuple, list)) else (batch,)
            yield (inputs, *(rest or (clean,)))


class _Values(keras.losses.Loss):
    """The values themselves, reduced and scaled as Keras does it with those of a loss."""

    def call(self, y_true, y_pred):
        return y_pred


def outputs_of(y_pred) -> dict:
    """What a model returned in a step; elsewhere it is the reconstruction alone."""
    return y_pred if isinstance(y_pred, dict) else {"reconstruction": y_pred}


def weighed(weights, sample_weight):
    """Weights of elements (batch, ...) times `sample_weight`; either may be None."""
    if weights is None or sample_weight is None:
        return sample_weight if weights is None else weights
    sample_weight = ops.cast(sample_weight, weights.dtype)
    if len(sample_weight.shape) < len(weights.shape):
        sample_weight = ops.reshape(sample_weight, (-1, *[1] * (len(weights.shape) - 1)))
    return weights * sample_weight


def _per_sample(sample_weight, y_pred):
    """Weights (batch,) as (batch, 1, ...), which Keras's losses of images need."""
    if sample_weight is None or len(sample_weight.shape) != 1:
        return sample_weight
    return ops.reshape(sample_weight, (-1, *[1] * (len(y_pred.shape) - 2)))


def evaluation_pairs(model, dataset, seed):
    """(what the net sees, the clean target) as float arrays, batch by batch."""
    if model.corruption is not None:
        pairs = model._corrupted_pairs(dataset, seed)
    else:
        given = batches(dataset, 256)
        pairs = (batch if isinstance(batch, tuple) else (batch, batch) for batch in given)
    for inputs, target in pairs:
        yield to_numpy(scale_pixels(inputs)), to_numpy(scale_pixels(target))
