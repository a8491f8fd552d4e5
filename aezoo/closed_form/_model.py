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

SAMPLE_ROWS = 4096


@keras.saving.register_keras_serializable("aezoo")
class ClosedForm(Autoencoder):
    """An autoencoder that is solved from sums over the data, one pass for each stage.

    It has no epochs, no learning rate and no luck. The `solver` makes the stages one after
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
        """Solves the model: one pass over the data for each of its stages.

        Args:
            x: Array (samples, *input_shape) or a dataset of batches of it, of any
                length; `fit(x, x)` and datasets of (x, x) are the same.
            y: None, or `x` again.
            batch_size: Of the validation; the sums do not depend on batches.
            epochs: 1; `fine_tune` trains on by gradients.
            validation_split: Share of the end of an array that is kept for validation.
            validation_data: Array, dataset, or (x, x).
            verbose: 0, 1, 2 or "auto", as in `keras.Model.fit`.
            callbacks: Keras callbacks; what they see as a batch is a block of samples.
            steps_per_epoch: Batches to take from a dataset, which may be endless then.
            **options: `shuffle` changes nothing, as sums have no order.

        Returns:
            A `keras.callbacks.History` with the keys of any other model. `loss` and
            `mse` are those of the solved model on at most 4,096 of the training samples,
            drawn evenly.

        Raises:
            ValueError: if the data cannot be right, if `epochs` is not 1, or if targets
                differ from the inputs.
        """
        if not isinstance(epochs, int) or epochs != 1:
            raise ValueError(
                "`epochs` must be 1, as a closed form has nothing to repeat; "
                f"fine_tune(data, epochs=...) trains on by gradients. Received: {epochs!r}"
            )
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
        return self.history

    def partial_fit(self, x, y=None) -> ClosedForm:
        """Adds the samples of `x` to those that the model was solved from.

        A model of several stages keeps the earlier ones as its first data made them, and
        adds to the sums of the last.

        Args:
            x: As in `fit`.
            y: None, or `x` again.

        Returns:
            The model itself.

        Raises:
            ValueError: as in `fit`, and if the model was trained by gradients since.
        """
        if self.fine_tuned:
            raise ValueError(
                "`partial_fit` needs the sums, which fine_tune dropped; call fit anew. "
                f"Received: {self.name}, fine-tuned"
            )
        self._solve(check_training_data(self, as_array(x), y), y, self.sums)
        return self

    def merge(self, other: ClosedForm) -> ClosedForm:
        """Adds the samples that `other` was solved from, as if they had come here.

        Shards of the data can be summed apart so, in other processes or on other machines.
        Models of several stages must share the earlier ones: fit one, save it, and let
        every shard load it and go on with `partial_fit`.

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
        """Trains on by gradients; arguments and result as of `Autoencoder.fit`.

        The sums are dropped, as they tell these weights no longer.
        """
        self.sums, self.fine_tuned = None, True
        return super().fit(x, y, batch_size, epochs, **options)

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
        else:  # the optimizer has made no step, and has no state to load
            with scope_of(self):
                self.compile(**keras.saving.deserialize_keras_object(config))

    def save_own_variables(self, store):
        for name, array in (self.sums.state() if self.sums else {}).items():
            store[name] = array

    def load_own_variables(self, store):
        self.sums = Moments.from_state(store) if "shape" in store else None

    def _solve(self, x, y, sums, steps=None, run=None) -> dict:
        """Runs the stages, or goes on from `sums`; returns loss and metrics on a sample.

        Whatever stops it leaves the model as it was.
        """
        if not self.compiled:
            raise ValueError(f"The model must be compiled. Received: {self.name}, compile=False")
        kept = self.get_weights(), self.sums
        workers = distribution_of(self)
        sample, count = Sample(SAMPLE_ROWS), itertools.count()

        def watched(first: bool):
            parts = blocks(guarded(self, x), y, steps)
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
        # Keras's own loop, as so few batches are over before a block of them is compiled
        return super(ReconstructionModel, self).evaluate(
            seen, clean, batch_size=256, verbose=0, return_dict=True
        )

    def _last_stage(self) -> Stage:
        return list(self.solver.stages(self))[-1]


FINE_TUNING_RATE = 1e-4  # a higher one leaves the solution before it can improve on it


def closed_form(encoder, decoder, solver: Solver, **options) -> ClosedForm:
    """A compiled `ClosedForm` of two networks and its solver."""
    options |= {"model_class": ClosedForm, "usual_learning_rate": FINE_TUNING_RATE}
    model = autoencoder(encoder, decoder, **options)
    model.solver = solver
    return model
