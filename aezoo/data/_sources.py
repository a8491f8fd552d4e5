"""Where data comes from: each source gives splits, counts, arrays and single records."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
import warnings

import numpy as np

from aezoo._arguments import nearest

VALIDATION_ORDER_SEED = 0


class Source:
    """Samples of one origin, as arrays at once or as records one by one."""

    splits: tuple[str, ...] = ("train",)

    @property
    def samples(self) -> int:
        raise NotImplementedError

    @property
    def bytes(self) -> int:
        """Bytes that `arrays` would need."""
        raise NotImplementedError

    def split(self, name: str) -> Source:
        if name not in self.splits:
            hint = "" if len(self.splits) > 1 else "; validation_split=0.1 makes a 'validation'"
            raise ValueError(
                f"`split` must be one of {', '.join(map(repr, self.splits))}{hint}. "
                f"Received: {name!r}"
            )
        return self._split(name)

    def divided(self, name: str, share: float) -> Source:
        """The "train" or "validation" part, the same samples every time."""
        raise NotImplementedError

    def first(self, limit: int) -> Source:
        raise NotImplementedError

    def readable(self) -> Source:
        """The samples that can be read; the others are named in a warning."""
        return self

    def arrays(self) -> tuple[np.ndarray, np.ndarray | None]:
        raise NotImplementedError

    def records(self, labels: bool):
        raise NotImplementedError

    def _split(self, name: str) -> Source:
        return self


def validation_rows(samples: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Which rows are for training and which for validation, each in ascending order."""
    held_out = math.ceil(samples * share)
    if held_out >= samples:
        raise ValueError(
            f"`validation_split` must leave a sample for training. Received: {share!r} "
            f"of {samples} samples"
        )
    order = np.random.default_rng(VALIDATION_ORDER_SEED).permutation(samples)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


class ArraySource(Source):
    """Arrays in memory: splits is a mapping from the name to (x, y or None)."""

    def __init__(self, parts: dict, name: str = "train"):
        self._parts = parts
        self._name = name
        self.splits = tuple(parts)

    @property
    def samples(self) -> int:
        return len(self.arrays()[0])

    @property
    def bytes(self) -> int:
        return 0  # it is in memory already

    def arrays(self):
        return self._parts[self._name]

    def first(self, limit):
        return self._rows(slice(limit))

    def divided(self, name, share):
        training, validation = validation_rows(self.samples, share)
        return self._rows(training if name == "train" else validation)

    def _rows(self, rows):
        x, y = self.arrays()
        return ArraySource({self._name: (x[rows], None if y is None else y[rows])}, self._name)

    def _split(self, name):
        return ArraySource(self._parts, name)


class TFDSSource(Source):
    """A data set of TensorFlow Datasets, prepared on this machine or downloaded."""

    def __init__(self, builder, image_size, split="train", start=0, stop=None):
        self._builder = builder
        self._image_size = image_size
        self._split_name = split
        self._start = start
        self.splits = tuple(builder.info.splits)
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
        cut = self.samples - math.ceil(self.samples * share)
        if cut < 1:
            raise ValueError(
                f"`validation_split` must leave a sample for training. Received: {share!r}"
            )
        return self._part(0, cut) if name == "train" else self._part(cut, self.samples)

    def arrays(self):
        batches = list(self.records(self._y_key is not None).batch(4096).as_numpy_iterator())
        if self._y_key is None:
            return np.concatenate(batches), None
        x, y = zip(*batches, strict=True)
        return np.concatenate(x), np.concatenate(y)

    def records(self, labels):
        import tensorflow as tf

        dataset = self._builder.as_dataset(
            split=f"{self._split_name}[{self._start}:{self._stop}]", shuffle_files=False
        )

        def pick(record):
            x = record[self._x_key]
            if self._image_size is not None and len(x.shape) == 3:
                resized = tf.image.resize(x, self._image_size, antialias=True)
                x = tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), x.dtype)
            x = tf.ensure_shape(x, self._shape)
            return (x, record[self._y_key]) if labels else x

        if labels and self._y_key is None:
            raise ValueError(
                "`labels` must be False for a source without labels. "
                f"Received: {self._builder.name!r}"
            )
        return dataset.map(pick, num_parallel_calls=tf.data.AUTOTUNE)

    def _part(self, start, stop):
        return TFDSSource(self._builder, self._image_size, self._split_name, start, stop)

    def _split(self, name):
        return TFDSSource(self._builder, self._image_size, name)


def find_source(source, image_size, data_dir) -> Source:
    """The source that an argument means: an array, a path, the digits or a TFDS name."""
    if isinstance(source, Source):
        return source
    if not isinstance(source, (str, os.PathLike)):
        return _from_array(source)
    if source == "digits":
        return _digits()
    path = pathlib.Path(source)
    if path.is_dir():
        from aezoo.data._images import ImageFolder

        return ImageFolder.find(path, image_size)
    if path.is_file():
        return _from_file(path)
    if path.suffix or os.sep in str(source) or isinstance(source, os.PathLike):
        raise FileNotFoundError(
            f"`source` must be an existing file or folder where it is a path. Received: {source}"
        )
    return TFDSSource(_tfds_builder(str(source), data_dir), image_size)


def _from_array(array) -> ArraySource:
    x = array if isinstance(array, np.ndarray) else np.asarray(array)
    if x.ndim < 2 or x.dtype == object:
        raise ValueError(
            "`source` must be an array (samples, ...), a path, 'digits' or the name of a "
            f"TensorFlow data set. Received: {type(array).__name__} of shape {x.shape}"
        )
    return ArraySource({"train": (x, None)})


def _digits() -> ArraySource:
    """scikit-learn's digits: 1,437 for training and 360 for testing, the same every time."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = (digits.images * (255 / 16)).round().astype("uint8")[..., None]
    y = digits.target.astype("int64")
    train, test = validation_rows(len(x), 0.2)
    return ArraySource({"train": (x[train], y[train]), "test": (x[test], y[test])})


def _from_file(path: pathlib.Path) -> ArraySource:
    readers = {".npy": _from_npy, ".npz": _from_npz, ".csv": _from_csv}
    if path.suffix.lower() not in readers:
        raise ValueError(
            f"`source` must be a .npy, .npz or .csv file, or a folder of images. Received: {path}"
        )
    try:
        return readers[path.suffix.lower()](path)
    except (OSError, EOFError, KeyError, SyntaxError, ValueError) as error:
        if "Received: " in str(error):
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "unreadable"
        raise ValueError(
            f"`source` must be a whole {path.suffix} file of numbers ({reason}). Received: {path}"
        ) from error
    except Exception as error:  # zipfile and zlib have errors of their own for broken files
        raise ValueError(
            f"`source` must be a whole {path.suffix} file ({type(error).__name__}: {error}). "
            f"Received: {path}"
        ) from error


def _from_npy(path):
    return _from_array(np.load(path, allow_pickle=False))


def _from_npz(path):
    """Arrays named x_train, y_train, x_test, y_test or x, y, or one array of any name."""
    with np.load(path, allow_pickle=False) as file:
        names = set(file.files)
        parts = {}
        for name in sorted(names):
            if name == "x" or name.startswith("x_"):
                labels = "y" + name[1:]
                y = file[labels] if labels in names else None
                parts[name[2:] or "train"] = (_from_array(file[name]).arrays()[0], y)
        if parts:
            order = sorted(parts, key=lambda part: (part != "train", part))
            return ArraySource({part: parts[part] for part in order}, order[0])
        if len(names) == 1:
            return _from_array(file[names.pop()])
    raise ValueError(
        "`source` must be an .npz file with one array, or arrays named x, or x_train and x_test. "
        f"Received: {path} with {', '.join(sorted(names)) or 'no array'}"
    )


def _from_csv(path):
    """Columns of numbers; a column named label or target becomes the labels."""
    import csv

    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if not rows:
        raise ValueError(f"`source` must hold at least one row. Received: {path}")
    header = None if all(_is_number(cell) for cell in rows[0]) else rows.pop(0)
    names = header or [f"column {i}" for i in range(len(rows[0]) if rows else 0)]
    if not rows:
        raise ValueError(f"`source` must hold at least one row of numbers. Received: {path}")
    for number, row in enumerate(rows, start=2 if header else 1):
        if len(row) != len(names):
            raise ValueError(
                f"`source` must have {len(names)} columns in each row. "
                f"Received: {len(row)} in row {number} of {path}"
            )
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    label = next((name for name in names if name.strip().lower() in ("label", "target")), None)
    y = None if label is None else np.array(columns.pop(label))
    for name, column in columns.items():
        bad = next((cell for cell in column if not _is_number(cell)), None)
        if bad is not None:
            raise ValueError(
                f"`source` must hold numbers only. Received: {bad!r} in {name!r} of {path}"
            )
    x = np.array(list(columns.values()), "float32").T
    return ArraySource({"train": (x, y)})


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _tfds_builder(name: str, data_dir):
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
    print(f"Downloading {name} to {folder} (set TFDS_DATA_DIR to change that) ...", flush=True)
    try:
        _probe_network(builder)
        builder.download_and_prepare()
    except (Exception, SystemExit) as error:
        raise FileNotFoundError(
            f"`source` must be prepared in {folder} or be downloadable: {name} could be neither "
            f"found nor downloaded ({type(error).__name__}); set TFDS_DATA_DIR to the folder that "
            f"has it. Received: {name!r}"
        ) from error
    return builder


def _probe_network(builder) -> None:
    """Fails in seconds where there is no network; TFDS alone tries for minutes."""
    import urllib.error
    import urllib.request

    url = next(iter(builder.url_infos), None)
    if url is not None:
        with contextlib.suppress(urllib.error.HTTPError):  # any answer shows a network
            urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10).close()
