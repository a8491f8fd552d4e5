"""`load` and `arrays`: any source, one way in."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Interval

from aezoo.data._find import find_source
from aezoo.data._source import Source
from aezoo.inputs.annotations import Flag, NonNegative, Number, Seed, Size, Text, checked
from aezoo.inputs.arguments import LARGEST, is_integer
from aezoo.inputs.arrays import as_array, is_array, is_dataset

# 2 GiB; the training data of MNIST take 47 MB as uint8, and those of CIFAR-10 154 MB.
MEMORY_LIMIT = 2 * 1024**3
# Not the ends, where a part would be empty.
ValidationSplit = Annotated[Number, Interval(gt=0, lt=1), "between 0 and 1"] | None
# Of one image after resizing; a larger size is a mistake, to be refused before it is allocated.
MOST_PIXELS = 2**26


@checked
def load(
    source,
    split: str = "train",
    *,
    batch_size: Size = 128,
    labels: Flag = False,
    image_size: int | tuple[int, int] | None = None,
    shuffle: Flag | None = None,
    validation_split: float | None = None,
    limit: int | None = None,
    seed: Seed = None,
    data_dir: str | None = None,
    memory_limit: NonNegative = MEMORY_LIMIT,
):
    """A `tf.data.Dataset` of batches (batch, *sample shape) of inputs alone.

    Data that fits in memory is kept there as it came (pixels as uint8) and shuffled
    anew every epoch; data that does not is streamed. The last batch may be smaller.

    Args:
        source: `"digits"`, scikit-learn's 1,797 handwritten digits of 8x8 pixels, which
            need no download; the name of a TensorFlow dataset, such as "mnist"; an
            array or data frame of numbers; a path to a `.npy`, `.npz` or `.csv` file; or
            a folder of images, with or without a folder per class (see below).
        split: "train", "test", or another split that the source has; "validation" where
            `validation_split` is given. A source without splits is all "train".
        batch_size: Samples in a batch.
        labels: Whether batches are (x, label) pairs. Class folders are numbered from 0
            in the order of their names, those of all splits together, so that a class has
            the same number in each split.
        image_size: (height, width), or one integer for both, that images are resized
            to, of at most 2**26 pixels. None keeps their own size; a folder of
            images of several sizes is then resized to 64x64, with a warning. Arrays are not
            resized, and any other size than theirs is refused.
        shuffle: None shuffles the training split only.
        validation_split: Share of "train" that is split off as "validation", the same
            samples every time: random ones, drawn with a fixed seed, or the last ones of a
            TensorFlow dataset, which is read in slices. (In `model.fit`, where Keras has an
            argument of this name, they are the last ones too.)
        limit: Maximum number of samples: the first ones of arrays, files and TensorFlow
            datasets; evenly spread ones of a folder of images, where the first would all
            be of one class.
        seed: Integer that fixes the order of the samples, or None.
        data_dir: Where TensorFlow Datasets finds its data; None is `TFDS_DATA_DIR` or
            its default.
        memory_limit: Bytes above which data is streamed.

    Returns:
        A `tf.data.Dataset` with known cardinality and static sample shape.

    Raises:
        ValueError: if the source, the split or another argument is not one of the above.
        FileNotFoundError: if there is no such file, folder or data set.

    Note:
        **Folders of images.** PNG, JPEG, BMP, GIF, TIFF and WebP files; with a folder
        `train` or `test`, only the folders `train`, `validation` and `test` are read. Links
        are followed; hidden files and folders are left out. Files that cannot be read are
        left out with a warning that names them, and so are images of more pixels than
        `PIL.Image.MAX_IMAGE_PIXELS` (89 million). Images are grey where all are grey, else
        RGB; they are turned upright; what is transparent becomes white; of several frames
        the first one is read.

        The dtype is that of the files. 8 bits are uint8; 9 to 16 bits, grey in PNG and TIFF
        and RGB in PNG, are uint16 with the values that the file has. Models scale pixels by
        the range of the dtype, so that 12-bit data in uint16 end at 4095 / 65535. In a
        folder of 8 and 16 bits, pixels of 8 bits are multiplied by 257, which is the same
        value in [0, 1]. TIFF of signed 16-bit integers, 32-bit integers or floats is float32
        with the values that the file has, not scaled; it must not be mixed with the others.

        **CSV files.** Columns of numbers, read as float32. A column named label or target
        (in any case) becomes the labels: int64 where all are integers, else text; missing
        ones are refused where labels are asked for. The first row is a header where none of
        its cells is a number. It is also read as a header, with a warning that names the file
        in case it is a sample, where only some cells are numbers, and where the cells are
        0, 1, 2 and so on, as pandas writes two or more columns without names. A first column
        without a name is an index as pandas writes it, and is left out with a warning.

    Example:

    >>> dataset = aezoo.data.load("digits", batch_size=100)
    >>> dataset.element_spec.shape, len(dataset)
    (TensorShape([None, 8, 8, 1]), 15)
    """
    part = find_part(source, split, image_size, validation_split, limit, data_dir)
    # Here and not in the signature, as the default depends on the split.
    shuffle = split == "train" if shuffle is None else shuffle
    options = {"batch_size": batch_size, "shuffle": shuffle, "seed": seed}
    return _dataset(part, source, labels, memory_limit, **options)


@checked
def arrays(
    source,
    split: str = "train",
    *,
    labels: Flag = False,
    image_size: int | tuple[int, int] | None = None,
    validation_split: float | None = None,
    limit: int | None = None,
    data_dir: str | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """The same data as `load` as a NumPy array (samples, *sample shape), unshuffled.

    Args:
        source: As in `load`, and so are the other arguments.
        split: As in `load`.
        labels: Whether to return (x, labels).
        image_size: As in `load`.
        validation_split: As in `load`.
        limit: As in `load`.
        data_dir: As in `load`.

    Returns:
        The array, or (x, labels).

    Raises:
        ValueError, FileNotFoundError: as `load` does.

    Example:

    >>> x, y = aezoo.data.arrays("digits", "test", labels=True)
    >>> x.shape, x.dtype, y.shape
    ((360, 8, 8, 1), dtype('uint8'), (360,))
    """
    part = find_part(source, split, image_size, validation_split, limit, data_dir)
    x, y = read_arrays(part, source)
    return (x, _required(y, part)) if labels else x


def with_labels(source, split, *, image_size=None, limit=None, data_dir=None):
    """(x, labels), where labels is None for a source without labels."""
    part = find_part(source, split, image_size, None, limit, data_dir)
    return read_arrays(part, source)


def with_names(source, split, *, image_size=None, limit=None, data_dir=None):
    """(a dataset in order, the names of its samples): files of a folder, else numbers."""
    part = find_part(source, split, image_size, None, limit, data_dir).readable()
    options = {"batch_size": 128, "shuffle": False, "seed": None}
    return _dataset(part, source, False, MEMORY_LIMIT, **options), part.names


def splits(source, data_dir: str | None = None) -> tuple[str, ...]:
    """The splits that a source has of its own; ("train",) where it has none.

    Example:

    >>> aezoo.data.splits("digits")
    ('train', 'test')
    """
    return find_source(source, None, data_dir).splits


def evaluation_split(source, data_dir) -> str:
    """The test split where a source has one, else the training split."""
    return "test" if "test" in splits(source, data_dir) else "train"


@checked
def find_part(
    source,
    split: Text,
    image_size,
    validation_split: ValidationSplit,
    limit: Size | None,
    data_dir,
) -> Source:
    """The samples of a source that are asked for."""
    image_size = _check_image_size(image_size)
    found = find_source(source, image_size, data_dir)
    found.check_image_size(image_size)
    # Other splits stay whole, so that one call can serve train, validation and test.
    if validation_split is not None and split in ("train", "validation"):
        part = found.split("train").divided(split, validation_split)
    else:
        part = found.split(split)
    if part.samples == 0:
        raise ValueError(
            f"`source` must hold at least one sample. Received: {_named(source)}, {split!r}"
        )
    # The limit comes last, as it counts the samples of the part that was asked for.
    return part.first(limit) if limit is not None and limit < part.samples else part


def _dataset(part, source, labels, memory_limit, **options):
    """Batches from memory, or streamed where the part is larger than `memory_limit`."""
    from aezoo.backends import tensorflow_batches

    if part.bytes > memory_limit:
        # Unreadable images are left out before, as a stream must state its number of samples.
        part = part.readable()
        if part.samples == 0:
            raise _nothing_readable(source)
        return tensorflow_batches.from_records(part.records(labels), part.samples, **options)
    x, y = read_arrays(part, source)
    return tensorflow_batches.from_arrays(x, _required(y, part) if labels else None, **options)


def read_arrays(part, source):
    x, y = part.arrays()
    if len(x) == 0:
        raise _nothing_readable(source)
    return x, y


def _nothing_readable(source):
    return ValueError(
        f"`source` must hold at least one readable sample. Received: {_named(source)}"
    )


def _named(source) -> str:
    return repr(source) if isinstance(source, str) else f"{source}".splitlines()[0]


def _check_image_size(image_size):
    if image_size is None:
        return None
    size = (image_size, image_size) if is_integer(image_size) else image_size
    valid = isinstance(size, (tuple, list)) and len(size) == 2
    if not valid or not all(is_integer(length) and 0 < length <= LARGEST for length in size):
        raise ValueError(
            f"`image_size` must be a positive integer or (height, width). Received: {image_size!r}"
        )
    if size[0] * size[1] > MOST_PIXELS:
        raise ValueError(
            f"`image_size` must be at most {MOST_PIXELS:,} pixels. Received: {image_size!r}"
        )
    return tuple(size)


def _required(y, part):
    if y is None:
        raise part.without_labels()
    # Only NaN and NaT differ from themselves, in arrays of any dtype.
    missing = y == "" if y.dtype.kind == "U" else y != y
    if y.dtype.kind not in "fiubUSO" or missing.any():
        raise ValueError(
            "`source` must have labels that are numbers or texts, and none that is missing. "
            f"Received: labels of dtype {y.dtype}, {missing.sum()} of {len(y)} missing"
        )
    return y


def labelled(data, split: str):
    """(x, labels) as arrays; (dataset, None) of a dataset."""
    if is_dataset(data):
        return data, None
    if isinstance(data, (tuple, list)) and len(data) == 2:
        x, y = as_array(data[0]), np.asarray(as_array(data[1]))
        if not is_array(x) or not len(x.shape) or y.ndim != 1 or len(x) != len(y):
            raise ValueError(
                "Labels must be an array of one integer per sample. Received: labels of shape "
                f"{y.shape} for {f'{len(x)} samples' if np.ndim(x) else f'a {type(x).__name__}'}"
            )
        return x, y
    if isinstance(data, (tuple, list)) or is_array(data):
        raise ValueError(
            f"`{split}` must be (x, labels), a dataset of such batches, or a source. "
            f"Received: a {type(data).__name__} without labels"
        )
    return arrays(data, split, labels=True)
