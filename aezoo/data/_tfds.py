"""Data sets of TensorFlow Datasets: what is on this machine first, then a download."""

from __future__ import annotations

import contextlib
import math
import pathlib
import urllib.request
import warnings

import numpy as np

from aezoo.data._source import Source
from aezoo.inputs.arguments import nearest


def find_data_set(name: str, image_size, data_dir) -> TFDSSource:
    """The data set of that name.

    Raises:
        ValueError: if there is none of that name; the sentence names the nearest.
        FileNotFoundError: if it is neither prepared here nor could be downloaded.
    """
    return TFDSSource(_prepared_builder(name, data_dir), image_size)


class TFDSSource(Source):
    """A data set of TensorFlow Datasets, prepared on this machine or downloaded."""

    def __init__(self, builder, image_size, split="train", start=0, stop=None):
        self._builder = builder
        self._image_size = image_size
        self._split_name = split
        self._start = start
        self.splits = tuple(builder.info.splits)
        # Before `split` is called this is "train", which a data set need not have.
        if split in builder.info.splits:
            total = builder.info.splits[split].num_examples
            self._stop = total if stop is None else stop
        self._x_key, self._y_key = self._keys()

    def _keys(self):
        features = self._builder.info.features
        keys = self._builder.info.supervised_keys
        if keys:
            return keys[0], keys[1]
        for key in ("image", "features", "data"):
            if key in features:
                return key, "label" if "label" in features else None
        raise ValueError(
            "`source` must be a data set with an image or a feature vector. "
            f"Received: {self._builder.name!r} with {', '.join(features)}"
        )

    @property
    def samples(self):
        return self._stop - self._start

    @property
    def _shape(self):
        shape = self._builder.info.features[self._x_key].shape
        if self._image_size is not None and len(shape) == 3:
            return (*self._image_size, shape[-1])
        if None in shape:
            raise ValueError(
                "`image_size` must be given for a data set whose images differ in size. "
                f"Received: image_size=None for {self._builder.name!r}"
            )
        return tuple(shape)

    @property
    def bytes(self):
        dtype = self._builder.info.features[self._x_key].np_dtype
        return self.samples * math.prod(self._shape) * np.dtype(dtype).itemsize

    def first(self, limit):
        return self._part(self._start, self._start + limit)

    def divided(self, name, share):
        # The last rows and not random ones, as TFDS reads slices of a split, not chosen rows.
        cut = self.samples - math.ceil(self.samples * share)
        if cut < 1:
            raise ValueError(
                f"`validation_split` must leave a sample for training. Received: {share!r}"
            )
        return self._part(0, cut) if name == "train" else self._part(cut, self.samples)

    def arrays(self):
        # In batches, as each element that is taken from a pipeline costs a call of its own.
        batches = list(self.records(self._y_key is not None).batch(4096).as_numpy_iterator())
        if self._y_key is None:
            return np.concatenate(batches), None
        x, y = zip(*batches, strict=True)
        return np.concatenate(x), np.concatenate(y)

    def records(self, labels):
        import tensorflow as tf

        # Files are not shuffled, so that a slice has the same rows each time.
        dataset = self._builder.as_dataset(
            split=f"{self._split_name}[{self._start}:{self._stop}]", shuffle_files=False
        )

        def pick(record):
            x = record[self._x_key]
            if self._image_size is not None and len(x.shape) == 3:
                # It returns float32. A cast alone would cut pixels off to the integer below.
                resized = tf.image.resize(x, self._image_size, antialias=True)
                # The range is that of 8 bits or of 16; floats keep theirs.
                if x.dtype.is_integer:
                    resized = tf.clip_by_value(tf.round(resized), 0, x.dtype.max)
                x = tf.cast(resized, x.dtype)
            x = tf.ensure_shape(x, self._shape)
            return (x, record[self._y_key]) if labels else x

        if labels and self._y_key is None:
            raise self.without_labels()
        return dataset.map(pick, num_parallel_calls=tf.data.AUTOTUNE)

    def _part(self, start, stop):
        return TFDSSource(self._builder, self._image_size, self._split_name, start, stop)

    def _split(self, name):
        return TFDSSource(self._builder, self._image_size, name)


def _prepared_builder(name: str, data_dir):
    """The prepared builder: what is on this machine first, a download only after that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:
        known = ["digits", *tfds.list_builders(with_community_datasets=False)]
        raise ValueError(
            "`source` must be 'digits', an array, a path, or the name of a TensorFlow data set"
            f"{nearest(name, known)}. Received: {name!r}"
        ) from error
    if pathlib.Path(builder.data_dir).is_dir():
        return builder
    folder = pathlib.Path(builder.data_dir).parent.parent
    # Printed, since a download may take minutes and would look as if the program hung.
    print(f"Downloading {name} to {folder} (set TFDS_DATA_DIR to change that) ...", flush=True)
    try:
        # Without a network, TFDS itself took 204 s to fail.
        _probe_network(builder)
        builder.download_and_prepare()
    except (Exception, SystemExit) as error:
        # TFDS calls `sys.exit` where the user declines to build a data set larger than the memory.
        raise FileNotFoundError(
            f"`source` must be prepared in {folder} or be downloadable: {name} could be neither "
            f"found nor downloaded ({type(error).__name__}); set TFDS_DATA_DIR to the folder that "
            f"has it. Received: {name!r}"
        ) from error
    return builder


def _probe_network(builder) -> None:
    """Fails in seconds where there is no network; TFDS alone tries for minutes."""
    url = next(iter(builder.url_infos or ()), None)
    if url is not None:
        # Any answer, an error of the server too, shows that there is a network.
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10).close()
