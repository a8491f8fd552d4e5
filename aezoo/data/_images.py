"""A folder of images, with or without a folder a class."""

from __future__ import annotations

import pathlib
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from aezoo.data._sources import Source, validation_rows

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
MIXED_SIZE = (64, 64)


class ImageFolder(Source):
    """Images of one folder as uint8: grey where all are grey, else RGB."""

    def __init__(self, parts: dict, size: tuple[int, int], channels: int, name="train"):
        self._parts = parts  # split: (paths, labels or None)
        self._size = size
        self._channels = channels
        self._name = name
        self.splits = tuple(parts)

    @classmethod
    def find(cls, folder: pathlib.Path, image_size) -> ImageFolder:
        """Looks a folder through; files that are no images are named and left out."""
        names = [name for name in ("train", "validation", "test") if (folder / name).is_dir()]
        folders = {name: folder / name for name in names} if "train" in names else {"train": folder}
        found = {name: _list_with_classes(part) for name, part in folders.items()}
        sizes, grey = Counter(), True
        for name, (paths, labels) in found.items():
            with ThreadPoolExecutor() as pool:
                headers = list(pool.map(_read_header, paths))
            _warn_of_broken(
                [path for path, header in zip(paths, headers, strict=True) if header is None]
            )
            good = [i for i, header in enumerate(headers) if header is not None]
            if not good:
                raise ValueError(
                    "`source` must be a folder with at least one readable image "
                    f"({', '.join(sorted(SUFFIXES))}). Received: {folders[name]}"
                )
            sizes.update(headers[i][0] for i in good)
            grey = grey and all(headers[i][1] for i in good)
            found[name] = (
                [paths[i] for i in good],
                None if labels is None else np.array([labels[i] for i in good]),
            )
        if image_size is None:
            image_size = next(iter(sizes))
            if len(sizes) > 1:
                image_size = MIXED_SIZE
                warnings.warn(
                    f"The images of {folder} have {len(sizes)} different sizes and are resized to "
                    f"{MIXED_SIZE[0]}x{MIXED_SIZE[1]}; pass image_size=(height, width) to choose.",
                    stacklevel=2,
                )
        return cls(found, tuple(image_size), 1 if grey else 3)

    @property
    def samples(self):
        return len(self._parts[self._name][0])

    @property
    def bytes(self):
        return self.samples * self._size[0] * self._size[1] * self._channels

    @property
    def names(self):
        return [str(path) for path in self._parts[self._name][0]]

    def first(self, limit):
        """Evenly spread over the folder, so that every class is among them."""
        return self._rows(np.linspace(0, self.samples - 1, limit).round().astype(int))

    def divided(self, name, share):
        training, validation = validation_rows(self.samples, share)
        return self._rows(training if name == "train" else validation)

    def arrays(self):
        paths = self._parts[self._name][0]
        with ThreadPoolExecutor() as pool:
            images = list(pool.map(self._read, paths))
        part = self._kept([image is not None for image in images])
        images = [image for image in images if image is not None]
        x = np.stack(images) if images else np.empty((0, *self._size, self._channels), "uint8")
        return x, part._parts[self._name][1]

    def readable(self):
        with ThreadPoolExecutor() as pool:
            paths = self._parts[self._name][0]
            return self._kept(list(pool.map(lambda path: self._read(path) is not None, paths)))

    def records(self, labels):
        import tensorflow as tf

        paths, classes = self._parts[self._name]
        if labels and classes is None:
            raise ValueError(
                "`labels` must be False for a source without labels. Received: a folder of "
                "images without a folder a class"
            )
        rows = classes if classes is not None else np.zeros(len(paths), "int64")
        shape = (*self._size, self._channels)

        def record(path, label):
            image = tf.numpy_function(lambda name: self._read(name.decode()), [path], tf.uint8)
            image = tf.ensure_shape(image, shape)
            return (image, label) if labels else image

        dataset = tf.data.Dataset.from_tensor_slices(([str(path) for path in paths], rows))
        return dataset.map(record, num_parallel_calls=tf.data.AUTOTUNE)

    def _read(self, path):
        return read_image(path, self._size, self._channels)

    def _kept(self, good):
        """The part without the images that could not be read, which are named."""
        paths = self._parts[self._name][0]
        _warn_of_broken([path for path, kept in zip(paths, good, strict=True) if not kept])
        return self._rows(np.flatnonzero(good))

    def _rows(self, rows):
        paths, labels = self._parts[self._name]
        part = ([paths[i] for i in rows], None if labels is None else labels[rows])
        return ImageFolder({self._name: part}, self._size, self._channels, self._name)

    def _split(self, name):
        return ImageFolder(self._parts, self._size, self._channels, name)


def read_image(path, size: tuple[int, int], channels: int) -> np.ndarray | None:
    """One image as uint8 (height, width, channels), upright; None if it cannot be read."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")
            if image.size != size[::-1]:
                image = image.resize(size[::-1], Image.Resampling.BILINEAR)
            return np.asarray(image, "uint8").reshape(*size, channels)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _read_header(path):
    """((height, width), is grey), or None if the file is no image."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            width, height = image.size
            if image.getexif().get(0x0112, 1) >= 5:  # the orientation lies on its side
                width, height = height, width
            return (height, width), image.mode in ("1", "L", "LA", "I", "I;16")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def list_images(folder: pathlib.Path) -> list[pathlib.Path]:
    """All image files below a folder, in order."""
    return sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
    )


def _list_with_classes(folder: pathlib.Path):
    """Paths in order, and the number of each one's class folder, or None without any."""
    paths = list_images(folder)
    classes = sorted({path.relative_to(folder).parts[0] for path in paths if path.parent != folder})
    if not classes or any(path.parent == folder for path in paths):
        return paths, None
    numbers = {name: i for i, name in enumerate(classes)}
    return paths, [numbers[path.relative_to(folder).parts[0]] for path in paths]


def _warn_of_broken(paths):
    if paths:
        named = ", ".join(str(path) for path in paths[:5])
        more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
        warnings.warn(f"Skipped files that are not readable images: {named}{more}", stacklevel=3)
