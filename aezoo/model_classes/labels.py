"""The data of a conditional model: every sample comes with its class."""

from __future__ import annotations

import random

import keras
import numpy as np

from aezoo.backends.engine import workers_of
from aezoo.inputs.arguments import check_positive_integer
from aezoo.inputs.arrays import as_array, is_array, is_dataset, to_numpy
from aezoo.inputs.training_data import check_inputs, split_arrays


def labelled_parts(model, x, labels, validation, batch_size, validation_split, shuffle):
    """Training and validation data of a conditional model, as batches with labels."""
    if validation_split and validation is None:
        x, labels = as_array(x), as_array(labels)
        x, labels, _, validation = split_arrays(x, labels, {}, validation_split)
    if validation is not None:
        pair = validation if isinstance(validation, tuple) else (validation,)
        if len(pair) not in (1, 2):
            raise ValueError(
                "`validation_data` must be (inputs, labels) or a dataset of them. "
                f"Received: {len(pair)} parts"
            )
        validation = labelled(model, *pair, batch_size=batch_size)
    return labelled(model, x, labels, batch_size, shuffle), validation


def labelled(model, x, labels=None, batch_size=32, shuffle=False, network=None):
    """Batches of ((inputs, labels), inputs), from arrays or from a dataset of (inputs, labels)."""
    if isinstance(x, keras.utils.PyDataset):  # of a method that calls another one
        return x
    if is_dataset(x):
        if labels is not None:
            raise ValueError(
                "`labels` must be left out for a dataset, which holds them. "
                f"Received: {type(labels).__name__}"
            )
        # Batches that this function has made already.
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
    check_inputs(x, (network or model).inputs[0].shape[1:])
    check_positive_integer("batch_size", batch_size)
    labels = _check_labels(labels, len(x), model.num_classes)
    # All workers must shuffle alike, as each takes its share of the same batches.
    seed = workers_of(model).same_seed(None) if shuffle else None
    return LabelledBatches(x, labels, batch_size, shuffle, seed)


def _check_labels(labels, length, num_classes):
    found = np.asarray(-1 if labels is None else as_array(labels))
    whole = np.issubdtype(found.dtype, np.integer) and found.shape in ((), (length,))
    if not whole or found.min() < 0 or (num_classes and found.max() >= num_classes):
        received = None if labels is None else f"{found.dtype} of shape {found.shape}"
        if whole and labels is not None:
            received = f"labels from {found.min()} to {found.max()}"
        largest = f" of 0 to {num_classes - 1}" if num_classes else " of 0 or more"
        raise ValueError(
            f"`labels` must be an integer{largest}, or {length} of them, one per sample. "
            f"Received: {received}"
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
