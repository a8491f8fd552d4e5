"""`ClosedForm`: an `Autoencoder` whose `fit` solves instead of iterating."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import keras
import numpy as np

from aezoo.backends.engine import distribution_of, guarded, scope_of
from aezoo.closed_form._moments import Moments
from aezoo.closed_form._stages import Sample, Solver, Stage, blocks
from aezoo.inputs.arrays import as_array
from aezoo.inputs.training_data import (
    check_fit_options,
    check_training_data,
    naming_bad_batches,
    split_arrays,
)
from aezoo.model_classes.autoencoder import Autoencoder
from aezoo.model_classes.reconstruction_model import ReconstructionModel
from aezoo.models._build import autoencoder

# Enough for a loss that is reported, and one block of samples (`BLOCK_ROWS`).
SAMPLE_ROWS = 4096


@keras.saving.register_keras_serializable("aezoo")
class ClosedForm(Autoencoder):
    """An autoencoder that is solved from sums over the data, one pass for each stage.

    It needs no epochs and no learning rate. The `solver` makes the stages one after
    the other; the sums of the last one are kept and saved with the model, so that
    `partial_fit` adds data that arrive later and `merge` adds what another machine saw.

    Example:

    >>> x = aezoo.data.arrays("digits")
    >>> one, two = aezoo.pca_ae((8, 8, 1), 16), aezoo.pca_ae((8, 8, 1), 16)
    >>> history = one.fit(x, verbose=0)
    >>> two = two.partial_fit(x[:700]).partial_fit(x[700:])
    >>> bool(np.allclose(one.reconstruct(x), two.reconstruct(x), atol=1e-4))
    True
    """

    usual_epochs = 1
    solver = None
    sums: Moments | None = None
    fine_tuned = False

    def fit(
        self,
        x=None,
        y=None,
        batch_size: int | None = None,
        epochs: int = 1,
        *,
        validation_split: float = 0.0,
        validation_data=None,
        verbose="auto",
        callbacks=None,
        steps_per_epoch: int | None = None,
        **options,
    ):
        """Solves the model: one pass over the data per stage.

        Args:
            x: Array (samples, *input_shape) or a dataset of batches of it, of any
                length; `fit(x, x)` and datasets of (x, x) are the same.
            y: None, or `x` again.
            batch_size: Batch size of the validation; the sums do not depend on batches.
            epochs: 1; `fine_tune` continues training with gradients.
            validation_split: Share of the end of an array that is kept for validation.
            validation_data: Array, dataset, or (x, x).
            verbose: 0, 1, 2 or "auto", as in `keras.Model.fit`.
            callbacks: Keras callbacks; what they see as a batch is a block of samples.
            steps_per_epoch: Number of batches to take from a dataset, which may then be endless.
            **options: Only `shuffle`, which changes nothing, as sums have no order.

        Returns:
            A `keras.callbacks.History` with the same keys as that of any other model. `loss` and
            `mse` are those of the solved model on at most 4,096 of the training samples,
            drawn at random.

        Raises:
            ValueError: if the data cannot be right, if `epochs` is not 1, or if targets
                differ from the inputs.
        """
        if not isinstance(epochs, int) or epochs != 1:
            raise ValueError(
                "`epochs` must be 1, as a closed form has nothing to repeat; "
                "fine_tune(data, epochs=...) continues training with gradients. "
                f"Received: {epochs!r}"
            )
        # Options at their defaults, such as sample_weight=None and initial_epoch=0, ask for
        # nothing. An array has no truth value, so `isscalar` is asked first.
        for name, value in options.items():
            if name != "shuffle" and not (value is None or (np.isscalar(value) and not value)):
                raise ValueError(
                    f"`{name}` must be left out, as sums have no use for it. Received: {value!r}"
                )
        counted = {"batch_size": batch_size, "steps_per_epoch": steps_per_epoch}
        counted |= {"validation_split": validation_split, "verbose": verbose}
        check_fit_options({**counted, "callbacks": callbacks})
        y = as_array(y)
        x = check_training_data(self, as_array(x), y, steps_per_epoch)
        if validation_split and validation_data is None:
            x, y, _, validation_data = split_arrays(x, y, {}, validation_split)
        parts = validation_data if isinstance(validation_data, tuple) else (validation_data,)
        if len(parts) not in (1, 2):
            raise ValueError(
                "`validation_data` must be inputs, or (inputs, targets), for a closed form. "
                f"Received: {len(parts)} parts"
            )
        # Callbacks see one epoch of blocks; how many blocks there are is not known before the pass.
        run = keras.callbacks.CallbackList(
            callbacks,
            add_history=True,
            add_progbar=verbose != 0,
            model=self,
            verbose=1 if verbose == "auto" else verbose,
            epochs=1,
            steps=None,
        )
        run.on_train_begin()
        run.on_epoch_begin(0)
        logs = self._solve(x, y, None, steps_per_epoch, run)
        if validation_data is not None:
            errors = self.evaluate(*parts, batch_size=batch_size, verbose=0, return_dict=True)
            logs |= {f"val_{name}": value for name, value in errors.items()}
        run.on_epoch_end(0, logs)
        run.on_train_end(logs)
        # Keras's `CallbackList` has put the History on the model.
        return self.history

    def partial_fit(self, x, y=None) -> ClosedForm:
        """Adds the samples of `x` to those that the model was solved from.

        A model with several stages keeps the earlier ones as its first data made them, and
        adds to the sums of the last one.

        Args:
            x: As in `fit`.
            y: None, or `x` again.

        Returns:
            The model itself.

        Raises:
            ValueError: as in `fit`, and if the model has been trained with gradients since.
        """
        if self.fine_tuned:
            raise ValueError(
                "`partial_fit` needs the sums, which fine_tune dropped; call fit again. "
                f"Received: {self.name}, fine-tuned"
            )
        y = as_array(y)
        self._solve(check_training_data(self, as_array(x), y), y, self.sums)
        return self

    def merge(self, other: ClosedForm) -> ClosedForm:
        """Adds the samples that `other` was solved from, as if they had been added here.

        In this way shards of the data can be summed separately, in other processes or on other
        machines. Models with several stages must share the earlier ones: fit one, save it, and
        let every shard load it and continue with `partial_fit`.

        Returns:
            The model itself.

        Raises:
            ValueError: if either has no sums, or if they are not sums of the same features.
        """
        for model in (self, other):
            if getattr(model, "sums", None) is None:
                raise ValueError(
                    "`other` and the model must both be fitted, and not fine-tuned since. "
                    f"Received: no sums in {getattr(model, 'name', model)!r}"
                )
        mine, others = self._last_stage(), other._last_stage()
        # Sums may be added only where they are of the same features: with the same solver and the
        # same weights in the network that made them.
        weights = [stage.network.get_weights() for stage in (mine, others)]
        same = len(weights[0]) == len(weights[1]) and all(map(np.array_equal, *weights))
        if self.solver != other.solver or not same:
            raise ValueError(
                "`other` must be the same model in all but the last stage, so let every shard "
                f"begin from one fitted model. Received: another {other.name!r}"
            )
        self.sums.merge(other.sums)
        mine.solve(self.sums)
        return self

    def fine_tune(self, x=None, y=None, batch_size=None, epochs: int = 1, **options):
        """Continues training with gradients; arguments and result are those of `Autoencoder.fit`.

        The sums are dropped, as the weights no longer follow from them.
        """
        before, steps = (self.sums, self.fine_tuned), self._gradient_steps()
        self.sums, self.fine_tuned = None, True
        try:
            return super().fit(x, y, batch_size, epochs, **options)
        except Exception:
            if self._gradient_steps() == steps:  # data that are refused change no weight
                self.sums, self.fine_tuned = before
            raise

    def _gradient_steps(self) -> int:
        optimizer = getattr(self, "optimizer", None)
        return 0 if optimizer is None else int(optimizer.iterations)

    def get_config(self):
        solver = keras.saving.serialize_keras_object(self.solver)
        return {**super().get_config(), "solver": solver, "fine_tuned": self.fine_tuned}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        solver = config.pop("solver", None)
        fine_tuned = config.pop("fine_tuned", False)
        model = super().from_config(config, custom_objects)
        model.solver = keras.saving.deserialize_keras_object(solver)
        model.fine_tuned = fine_tuned
        return model

    def compile_from_config(self, config):
        if self.fine_tuned:
            super().compile_from_config(config)
        else:
            # Not as Keras does it, which builds the optimizer: it has made no step and was saved
            # without slots, and Keras warns where it has more variables than the file.
            with scope_of(self):
                self.compile(**keras.saving.deserialize_keras_object(config))

    def save_own_variables(self, store):
        # A functional model has no variables of its own, so this place in the weights file is free.
        for name, array in (self.sums.state() if self.sums else {}).items():
            store[name] = array

    def load_own_variables(self, store):
        self.sums = Moments.from_state(store) if "shape" in store else None

    def _solve(self, x, y, sums, steps=None, run=None) -> dict:
        """Runs the stages, or continues from `sums`; returns loss and metrics on a sample.

        If it fails or is interrupted, the model is as it was before.
        """
        if not self.compiled:
            raise ValueError(f"The model must be compiled. Received: {self.name}, compile=False")
        kept = self.get_weights(), self.sums
        workers = distribution_of(self)
        sample, count = Sample(SAMPLE_ROWS), itertools.count()

        def watched(first: bool):
            parts = blocks(guarded(self, x), y, steps)
            # Every worker is given the same data, and takes its share of the rows of each block.
            for block in parts if workers is None else workers.rows(parts):
                step = next(count)
                if run:
                    run.on_train_batch_begin(step)
                if first:
                    sample.add(block)
                yield block
                if run:
                    run.on_train_batch_end(step)

        try:
            stages = self.solver.stages(self) if sums is None else [self._last_stage()]
            for number, stage in enumerate(stages):
                # Only here is it known that the model takes a second pass.
                if number and isinstance(x, Iterator):
                    raise ValueError(
                        f"`x` must be data that can be read more than once, as {self.name} takes "
                        f"several passes. Received: a {type(x).__name__}"
                    )
                with naming_bad_batches():
                    found = stage.run(watched(number == 0))
                if workers is not None:
                    found = workers.merged(found)
                if sums is not None:
                    found.merge(sums)
                stage.solve(found)
        except BaseException:
            # Also Ctrl-C: it must not leave a new encoder with the decoder of the old codes.
            self.set_weights(kept[0])
            self.sums = kept[1]
            raise
        self.sums, self.fine_tuned = found, False
        if workers is not None:
            sample = workers.merged(sample)
            return self.evaluate(sample.rows, batch_size=256, verbose=0, return_dict=True)
        clean = seen = sample.rows
        if self.corruption is not None:
            seen, clean = self._corrupted(clean, None)
        # Keras's own loop: so few batches are over before a block of them is compiled.
        return super(ReconstructionModel, self).evaluate(
            seen, clean, batch_size=256, verbose=0, return_dict=True
        )

    def _last_stage(self) -> Stage:
        # Makes the earlier stages too but solves none: their layers keep their weights.
        return list(self.solver.stages(self))[-1]


# A higher rate leaves the solution before it can improve on it: at Keras's .001 the test error of
# `random_feature_ae` on the digits rose from .0052 to .0086 and more, at .0001 it fell.
FINE_TUNING_RATE = 1e-4


def closed_form(encoder, decoder, solver: Solver, **options) -> ClosedForm:
    """A compiled `ClosedForm` from two networks and a solver."""
    options |= {"model_class": ClosedForm, "usual_learning_rate": FINE_TUNING_RATE}
    model = autoencoder(encoder, decoder, **options)
    model.solver = solver
    return model
