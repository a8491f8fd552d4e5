"""The source that an argument means."""

from __future__ import annotations

import os

from aezoo.data._arrays import ArraySource, from_array
from aezoo.data._source import Source, validation_rows
from aezoo.inputs.arguments import check_path


def find_source(source, image_size, data_dir) -> Source:
    """The source that an argument means: an array, a path, the digits or a TFDS name."""
    if isinstance(source, Source):
        return source
    if not isinstance(source, (str, os.PathLike)):
        return from_array(source)
    if source == "digits":
        return _digits()
    if source == "":
        raise ValueError("`source` must not be an empty text. Received: ''")
    path = check_path("source", source)
    # What is on the disk comes before a data set of the same name. The readers are imported where
    # they are used, as most programs need one of them.
    if path.is_dir():
        from aezoo.data._images import ImageFolder

        return ImageFolder.find(path, image_size)
    if path.is_file():
        from aezoo.data._files import read_file

        return read_file(path)
    # Only a bare name can be that of a data set; a mistyped path must not begin a download.
    if path.suffix or os.sep in str(source) or isinstance(source, os.PathLike):
        raise FileNotFoundError(
            f"`source` must be an existing file or folder where it is a path. Received: {source}"
        )
    from aezoo.data._tfds import find_data_set

    return find_data_set(str(source), image_size, data_dir)


def _digits() -> ArraySource:
    """scikit-learn's digits: 1,437 for training and 360 for testing, the same every time."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    # They are counts from 0 to 16. As uint8 they are scaled by models as other images are.
    x = (digits.images * (255 / 16)).round().astype("uint8")[..., None]
    y = digits.target.astype("int64")
    train, test = validation_rows(len(x), 0.2)
    return ArraySource({"train": (x[train], y[train]), "test": (x[test], y[test])})
