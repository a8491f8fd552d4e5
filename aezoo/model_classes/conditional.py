"""The conditional variational autoencoder: every sample comes with its class."""

from __future__ import annotations

import random

import keras
import numpy as np

from aezoo.backends.engine import workers_of
from aezoo.inputs.arguments import check_positive_integer
from aezoo.inputs.arrays import as_array, is_array, is_dataset, to_numpy
from aezoo.inputs.training_data import check_fit_options, check_inputs, split_arrays
from aezoo.model_classes.generative import VariationalAutoencoder


@keras.saving.register_keras_serializable("aezoo")
class ConditionalVariationalAutoencoder(VariationalAutoencoder):
    """A variational autoencoder of (inputs, labels), made by `vae(num_classes=...)`.

    Wherever inputs or codes are given as an array, `labels` come with them as an array of
    integers; datasets hold (inputs, labels), as `aezoo.data.load(..., labels=True)` makes them,
    and train fastest.

    Example:

    >>> model = aezoo.vae((8, 8, 1), latent_dim=4, num_classes=10)
    >>> history = model.fit(aezoo.data.load("digits", labels=True), verbose=0)
    >>> model.generate(3, labels=7, seed=0).shape
    (3, 8, 8, 1)
    """

    @property
    def num_classes(self) -> int:
        return self.encoder.get_layer("label_offset").input_dim

    def fit(
        self,
        x=None,
        y=None,
        batch_size: int | None = None,
        epochs: int = 1,
        *,
        validation_split: float = 0.0,
        validation_data=None,
        shuffle: bool = True,
        **options,
    ):
        """`Autoencoder.fit` on inputs `x` and labels `y`, or a dataset of (inputs, labels)."""
        counted = {"batch_size": batch_size, "validation_split": validation_split}
        check_fit_options({**counted, "epochs": epochs, "shuffle": shuffle, **options})
        if validation_split and validation_data is None:
            x, y = as_array(x), as_array(y)
            x, y, _, validation_data = split_arrays(x, y, {}, validation_split)
        if validation_data is not None:
            parts = validation_data if isinstance(validation_data, tuple) else (validation_data,)
            if len(parts) not in (1, 2):
                raise ValueError(
                    "`validation_data` must be (inputs, labels) or a dataset of them. "
                    f"Received: {len(parts)} parts"
                )
            validation_data = self._labelled(*parts, batch_size=batch_size or 32)
        data = self._labelled(x, y, batch_size or 32, shuffle)
        return super().fit(data, epochs=epochs, validation_data=validation_data, **options)

    def evaluate(self, x=None, y=None, batch_size: int | None = None, **options):
        """`Autoencoder.evaluate` on inputs `x` and labels `y`, or (inputs, labels)."""
        if not options.get("_use_cached_eval_dataset"):
            x, y = self._labelled(x, y, batch_size or 32), None
        return super().evaluate(x, y, **options)

    def encode(self, x, batch_size: int = 256, return_distribution: bool = False, *, labels=None):
        """`VariationalAutoencoder.encode` of samples of these classes."""
        return super().encode(
            self._labelled(x, labels, batch_size), batch_size, return_distribution
        )

    def decode(self, z, batch_size: int = 256, *, labels=None):
        """`Autoencoder.decode` of codes of these classes; one label is that of all."""
        return super().decode(self._labelled(z, labels, batch_size, network=self.decoder))

    def reconstruct(self, x, batch_size: int = 256, *, labels=None):
        """`Autoencoder.reconstruct` of samples of these classes."""
        return super().reconstruct(self._labelled(x, labels, batch_size))

    def reconstruction_error(self, x, batch_size: int = 256, *, labels=None):
        """`Autoencoder.reconstruction_error` of samples of these classes."""
        return super().reconstruction_error(self._labelled(x, labels, batch_size))

    def log_likelihood(self, x, samples=100, seed=0, batch_size: int = 256, *, labels=None):
        """`VariationalAutoencoder.log_likelihood`: the logarithm of p(x | label)."""
        return super().log_likelihood(self._labelled(x, labels, batch_size), samples, seed)

    def generate(self, n: int, seed: int | None = None, batch_size: int = 256, *, labels=None):
        """`GenerativeAutoencoder.generate` of these classes; one label is that of all."""
        return self.decode(self._prior(n, seed), batch_size, labels=labels)

    def interpolate(self, a, b, steps: int = 8, batch_size: int = 256, *, labels=None):
        """`GenerativeAutoencoder.interpolate` between samples of the same classes."""
        ends = (self.encode(x, batch_size, labels=labels) for x in (a, b))
        codes = self._line(*ends, steps)
        repeated = np.repeat(np.broadcast_to(labels, len(codes)), steps)
        decoded = self.decode(codes.reshape(-1, codes.shape[-1]), batch_size, labels=repeated)
        return decoded.reshape(*codes.shape[:2], *decoded.shape[1:])

    def _labelled(self, x, labels=None, batch_size=32, shuffle=False, network=None):
        """Batches of ((inputs, labels), inputs), from arrays or from (inputs, labels)."""
        if isinstance(x, keras.utils.PyDataset):  # of a method that calls another one
            return x
        if is_dataset(x):
            if isinstance(x.element_spec, tuple) and isinstance(x.element_spec[0], tuple):
                return x
            if not isinstance(x.element_spec, tuple) or len(x.element_spec) != 2:
                raise ValueError(
                    "`x` must be a dataset of (inputs, labels) for a conditional model. "
                    f"Received: elements of {x.element_spec}"
                )
            return x.map(lambda x, labels: ((x, labels), x))
        x = as_array(x)
        if not is_array(x):
            raise ValueError(
                "`x` must be an array, or a dataset of (inputs, labels), for a conditional model. "
                f"Received: a {type(x).__name__}"
            )
        check_inputs(x, (network or self).inputs[0].shape[1:])
        check_positive_integer("batch_size", batch_size)
        labels = self._checked_labels(labels, len(x))
        seed = workers_of(self).same_seed(None) if shuffle else None
        return LabelledBatches(x, labels, batch_size, shuffle, seed)

    def _checked_labels(self, labels, length):
        found = np.asarray(-1 if labels is None else as_array(labels))
        whole = np.issubdtype(found.dtype, np.integer) and found.shape in ((), (length,))
        if not whole or found.min() < 0 or found.max() >= self.num_classes:
            received = None if labels is None else f"{found.dtype} of shape {found.shape}"
            if whole and labels is not None:
                received = f"labels from {found.min()} to {found.max()}"
            raise ValueError(
                f"`labels` must be an integer of 0 to {self.num_classes - 1}, or {length} of "
                f"them, one a sample. Received: {received}"
            )
        return np.broadcast_to(found.astype("int32"), (length,))


class LabelledBatches(keras.utils.PyDataset):
    """Batches of ((inputs, labels), inputs) of two arrays, for any backend."""

    def __init__(self, x, labels, batch_size, shuffle, seed=None):
        super().__init__()
        self.x, self.labels, self.batch_size = to_numpy(x), labels, batch_size
        self.shuffle, self.order = shuffle, np.arange(len(x))
        seed = random.getrandbits(64) if seed is None else seed  # of set_random_seed
        self.generator = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __getitem__(self, step):
        rows = self.order[step * self.batch_size : (step + 1) * self.batch_size]
        return (self.x[rows], self.labels[rows]), self.x[rows]

    def on_epoch_end(self):
        if self.shuffle:
            self.generator.shuffle(self.order)
