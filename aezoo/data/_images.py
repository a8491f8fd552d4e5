"""A folder of images, with or without a folder per class."""

from __future__ import annotations

import contextlib
import copy
import os
import pathlib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from aezoo.data._source import Source, validation_rows
from aezoo.inputs.arguments import reason_of

SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp",
}  # fmt: skip
# Files of these are left out with a warning, as a user would take them for images.
OTHER_SUFFIXES = {
    ".apng", ".arw", ".avif", ".cr2", ".dcm", ".dib", ".dng", ".eps", ".exr", ".hdr", ".heic",
    ".heif", ".ico", ".j2k", ".jp2", ".jpf", ".jpx", ".jxl", ".mpo", ".nef", ".pbm", ".pcx",
    ".pgm", ".pnm", ".ppm", ".psd", ".qoi", ".raw", ".svg", ".tga",
}  # fmt: skip
# Whatever the suffix says, Pillow opens these alone; its other readers include PostScript, which it
# hands to another program.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
SPLITS = ("train", "validation", "test")
MIXED_SIZE = (64, 64)
# Up to here float32 holds every integer.
LARGEST_EXACT = 2**24
# Those of ITU-R 601-2 as Pillow rounds them, so that 8 and 16 bits become grey in the same way.
GREY_WEIGHTS = np.array((19595, 38470, 7471)) / 65536


class UnreadableImage(ValueError):
    """Why an image cannot be read, in a few words."""


class Header(NamedTuple):
    """What is known of an image before it is decoded."""

    size: tuple[int, int]  # (height, width), upright
    grey: bool
    dtype: str
    frames: bool  # whether there is more than one


class ImageFolder(Source):
    """Images of one folder: grey where all are grey, else RGB.

    The dtype is that of the deepest image: uint8; uint16, to which pixels of 8 bits are scaled
    (times 257, the same value in [0, 1]); float32, which must not be mixed with other depths.
    """

    def __init__(self, parts: dict, size: tuple[int, int], channels: int, dtype: str, strays=None):
        self._parts = parts  # split: (paths, labels or None)
        self._size = size
        self._channels = channels
        self._dtype = dtype
        self._strays = strays or {}  # split: an image beside the class folders
        self._name = "train"
        self.splits = tuple(parts)

    @classmethod
    def find(cls, folder: pathlib.Path, image_size) -> ImageFolder:
        """Reads the headers of all images; broken files are left out and named in a warning."""
        folders = {"train": folder}
        # A class may be called train too; the warning then names the other classes as left out.
        if (folder / "train").is_dir() or (folder / "test").is_dir():
            folders = {name: folder / name for name in SPLITS if (folder / name).is_dir()}
            _warn_of_files_beside_splits(folder)
        headers, parts, listed = {}, {}, {}
        for name, part in folders.items():
            paths = listed[name] = list_images(part)
            found, failed = {}, {}
            # Headers alone, as decoding takes much longer; `_WholeImages` decodes the few it needs.
            for path, header in zip(paths, _in_threads(_read_header, paths), strict=True):
                (failed if isinstance(header, UnreadableImage) else found)[path] = header
            _warn_of_broken(failed)
            if not found:
                raise ValueError(
                    "`source` must be a folder with at least one readable image "
                    f"({', '.join(sorted(SUFFIXES))}). Received: {part}"
                )
            headers.update(found)
            parts[name] = list(found)
        classes, strays = _classes(folders, parts, listed)
        _warn_of_frames([path for path, header in headers.items() if header.frames])
        whole = _WholeImages(headers)
        dtype = _common_dtype(whole)
        grey = not whole.any(lambda header: not header.grey)
        if image_size is None:
            image_size = _common_size(whole, folder)
        parts = {name: (paths, classes[name]) for name, paths in parts.items()}
        return cls(parts, tuple(image_size), 1 if grey else 3, dtype, strays)

    @property
    def samples(self):
        return len(self._parts[self._name][0])

    @property
    def bytes(self):
        itemsize = np.dtype(self._dtype).itemsize
        return self.samples * self._size[0] * self._size[1] * self._channels * itemsize

    @property
    def names(self):
        paths = self._parts[self._name][0]
        # A file name need not be text on Linux, and a table of names must be written as UTF-8.
        return [os.fsencode(path).decode("utf-8", "backslashreplace") for path in paths]

    @property
    def unlabelled(self):
        if self._name in self._strays:
            return (
                f"a folder with images beside its class folders, such as {self._strays[self._name]}"
            )
        return "a folder of images without a folder per class"

    def first(self, limit):
        """Evenly spread over the folder, so that every class is among them."""
        return self._rows(np.linspace(0, self.samples - 1, limit).round().astype(int))

    def divided(self, name, share):
        training, validation = validation_rows(self.samples, share)
        return self._rows(training if name == "train" else validation)

    def arrays(self):
        paths, _ = self._parts[self._name]
        # One array from the start: a list of images and its `np.stack` would need twice the memory.
        x = np.empty((len(paths), *self._size, self._channels), self._dtype)

        def read(row):
            x[row] = self._read(paths[row])

        failures = _in_threads(read, range(len(paths)))
        part = self._without(failures)
        good = [failure is None for failure in failures]
        return x if all(good) else x[good], part._parts[self._name][1]

    def readable(self):
        paths, _ = self._parts[self._name]

        def read(path):
            self._read(path)

        return self._without(_in_threads(read, paths))

    def records(self, labels):
        import tensorflow as tf

        paths, classes = self._parts[self._name]
        if labels and classes is None:
            raise self.without_labels()
        rows = classes if labels else np.zeros(len(paths), "int64")
        shape, dtype = (*self._size, self._channels), tf.as_dtype(self._dtype)

        def record(path, label):
            # TensorFlow's texts are bytes, and a file name need not be UTF-8, hence `fsdecode`.
            image = tf.numpy_function(lambda name: self._read(os.fsdecode(name)), [path], dtype)
            # `numpy_function` loses the shape, and models need a static one.
            image = tf.ensure_shape(image, shape)
            return (image, label) if labels else image

        dataset = tf.data.Dataset.from_tensor_slices(([os.fsencode(path) for path in paths], rows))
        return dataset.map(record, num_parallel_calls=tf.data.AUTOTUNE)

    def _read(self, path):
        return read_image(path, self._size, self._channels, self._dtype)

    def _without(self, failures):
        """The part without the images that could not be read, which are named."""
        paths, _ = self._parts[self._name]
        failed = {p: f for p, f in zip(paths, failures, strict=True) if f is not None}
        _warn_of_broken(failed)
        return self._rows(np.flatnonzero([failure is None for failure in failures]))

    def _rows(self, rows):
        paths, labels = self._parts[self._name]
        part = copy.copy(self)
        part._parts = {
            self._name: ([paths[i] for i in rows], None if labels is None else labels[rows])
        }
        return part

    def _split(self, name):
        part = copy.copy(self)
        part._name = name
        return part


# One image


def read_image(path, size: tuple[int, int], channels: int, dtype: str | None = None) -> np.ndarray:
    """One image (height, width, channels), upright, on white where it is transparent.

    Args:
        path: The file.
        size: (height, width), to which it is resized.
        channels: 1 for grey, 3 for RGB.
        dtype: "uint8", "uint16" or "float32"; None is that of the file. Pixels of 8 bits are
            scaled to 16 (times 257, the same value in [0, 1]).

    Raises:
        UnreadableImage: if it cannot be read as that without a loss.
    """
    with _opened(path) as image:
        own = _depth(image, path)
        if own == "uint8":
            pixels = _read_8_bits(image, size, channels)
        else:
            pixels = _read_deep(image, path, size, channels, own)
    if dtype in (None, own):
        return pixels
    if (own, dtype) == ("uint8", "uint16"):
        return pixels.astype("uint16") * 257
    raise UnreadableImage(f"{own} where {dtype} was found before")


def write_png(path, pixels: np.ndarray) -> None:
    """Writes uint8 or uint16 pixels (height, width, 1 or 3); Pillow has no RGB of 16 bits."""
    import tensorflow as tf

    with tf.device("CPU:0"):
        # PNG is encoded on the CPU; TensorFlow would copy the pixels to a GPU and back.
        pathlib.Path(path).write_bytes(tf.io.encode_png(pixels).numpy())


def list_images(folder: pathlib.Path) -> list[pathlib.Path]:
    """All image files below a folder, in order; links to folders are followed.

    Hidden files and folders, whose names begin with a dot, are left out; so are files of image
    formats that are not read, but these are named.
    """
    found, other, unreadable, above = [], [], [], {}
    for root, folders, files in os.walk(folder, onerror=unreadable.append, followlinks=True):
        here, parents = os.path.realpath(root), above.get(os.path.dirname(root), frozenset())
        # A link back to a folder that it lies in would be followed forever.
        if here in parents:
            folders.clear()
            continue
        above[root] = parents | {here}
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = pathlib.Path(root, name)
            suffix = path.suffix.lower()
            if name.startswith(".") or suffix not in SUFFIXES | OTHER_SUFFIXES:
                continue
            # A link to nothing, or to itself, is not a file.
            if path.is_file():
                (found if suffix in SUFFIXES else other).append(path)
    _warn_of("files of image formats that are not read", sorted(other))
    _warn_of("folders that cannot be opened", [error.filename for error in unreadable])
    return sorted(found)


@contextlib.contextmanager
def _opened(path) -> Iterator:
    """The file as Pillow opens it, not decoded yet; whatever goes wrong is UnreadableImage."""
    from PIL import Image

    try:
        # Opened here, since by name Pillow maps an uncompressed TIFF into memory and garbles one
        # that is to be turned.
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
            _check_pixels(image)
            yield image
    except UnreadableImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImage(_too_large()) from error
    except Image.UnidentifiedImageError as error:
        raise UnreadableImage("not in a format that is read") from error
    except Exception as error:
        # Pillow's decoders raise nearly everything at a damaged file.
        reason = getattr(error, "strerror", None) or reason_of(error, type(error).__name__)
        raise UnreadableImage(reason) from error


def _check_pixels(image):
    """Pillow only warns up to twice its limit, and a few kB can claim as many pixels as that."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise UnreadableImage(_too_large())


def _too_large():
    from PIL import Image

    return f"more pixels than PIL.Image.MAX_IMAGE_PIXELS, {Image.MAX_IMAGE_PIXELS:,}"


def _read_header(path) -> Header:
    with _opened(path) as image:
        width, height = image.size
        # Newer versions of Pillow have turned the size of a TIFF upright already; its tags are as
        # they were written.
        if image.format == "TIFF":
            width, height = image.tag_v2[256], image.tag_v2[257]
        # From 5 on, the orientations of EXIF lie on their side.
        if _orientation(image, path) >= 5:
            width, height = height, width
        # A palette (mode P) may hold any colour, so it counts as RGB.
        grey = image.mode in ("1", "L", "LA", "I", "F") or image.mode.startswith("I;16")
        dtype = _depth(image, path)
        if image.format == "PNG" and dtype == "uint16":
            # By the header, since Pillow makes RGBA of grey with alpha at 16 bits.
            grey = _png_header(path)[1] in (0, 4)
        # A .jpg of several pictures (MPO) has a main one, which is the first.
        frames = image.format != "MPO" and getattr(image, "is_animated", False)
        return Header((height, width), grey, dtype, bool(frames))


def _orientation(image, path) -> int:
    if image.format == "PNG":
        content = pathlib.Path(path).read_bytes()
        # Pillow decodes the whole image to look for EXIF data behind it, so it is asked only where
        # the file has some.
        if not any(word in content for word in (b"eXIf", b"Raw profile", b"XML:com.adobe.xmp")):
            return 1
    orientation = image.getexif().get(0x0112, 1)
    return orientation if isinstance(orientation, int) else 1


def _png_header(path) -> tuple[int, int]:
    """(bits per channel, colour type), which every PNG holds at the same place."""
    with open(path, "rb") as file:
        return tuple(file.read(26)[24:26])


def _depth(image, path) -> str:
    """The dtype that holds all bits of an image; UnreadableImage where Pillow would lose some."""
    if image.format == "PNG":
        return "uint16" if _png_header(path)[0] == 16 else "uint8"
    if image.format != "TIFF":
        return "uint8"
    bits, sample_format = max(image.tag_v2.get(258, (1,))), image.tag_v2.get(339, (1,))[0]
    if image.mode.startswith("I;16"):
        return "uint16"
    if image.mode in ("I", "F"):
        return "float32"
    if bits > 8:
        raise UnreadableImage(
            f"a TIFF of colours with {bits} bits, of which Pillow reads 8; PNG keeps 16"
        )
    if sample_format == 2:
        raise UnreadableImage("a TIFF of signed pixels with 8 bits")
    return "uint8"


def _read_8_bits(image, size, channels):
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    # On white, as the hidden colour of a transparent pixel may be anything.
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image, "uint8").reshape(*size, channels)


def _read_deep(image, path, size, channels, dtype):
    """More than 8 bits: each channel by itself in float32, which holds 16 bits exactly."""
    from PIL import Image, ImageOps

    orientation = 1
    if image.format == "PNG":
        pixels, orientation = _decode_png(path), _orientation(image, path)
    else:
        pixels = _decode_tiff(image)
    if pixels.shape[-1] > channels:
        # Equal channels are grey already, exactly; the weights would round.
        grey = (pixels[..., 1:] == pixels[..., :1]).all()
        pixels = pixels[..., :1] if grey else pixels @ GREY_WEIGHTS[:, None]
    # Pillow has no image of several float32 channels, so each is turned and resized by itself.
    planes = []
    for plane in np.moveaxis(pixels.astype("float32"), -1, 0):
        plane = Image.fromarray(plane)
        plane.getexif()[0x0112] = orientation
        plane = ImageOps.exif_transpose(plane)
        if plane.size != size[::-1]:
            plane = plane.resize(size[::-1], Image.Resampling.BILINEAR)
        planes.append(np.asarray(plane))
    pixels = np.stack(planes, -1)
    # Weights of grey and resizing leave fractions.
    if dtype == "uint16":
        pixels = pixels.round().clip(0, 65535)
    return np.broadcast_to(pixels, (*size, channels)).astype(dtype)


def _decode_png(path):
    """(height, width, 3) of 16 bits, on white; Pillow cuts colours and grey with alpha to 8."""
    import tensorflow as tf

    with tf.device("CPU:0"):
        content = pathlib.Path(path).read_bytes()
        try:
            pixels = tf.io.decode_png(content, channels=4, dtype=tf.uint16).numpy()
        except tf.errors.InvalidArgumentError as error:
            raise UnreadableImage("damaged or cut off") from error
    colours, alpha = pixels[..., :3], pixels[..., 3:]
    if (alpha == 65535).all():
        return colours
    # In float64, as float32 rounds products of two numbers of 16 bits.
    return (65535 - (65535 - colours.astype("float64")) * (alpha / 65535)).round()


def _decode_tiff(image):
    """(height, width, 1): integers of 16 bits, or numbers of 32 where float32 holds them."""
    tags = image.tag_v2
    bits, sample_format = max(tags.get(258, (1,))), tags.get(339, (1,))[0]
    from_white = tags.get(262) == 0
    # This turns it upright.
    image.load()
    pixels = np.asarray(image)
    if image.mode == "I":
        if bits == 32 and sample_format != 2:
            # Pillow has no unsigned 32 bits: values from 2^31 on come as negative ones.
            pixels = pixels.view("uint32")
        if not (np.abs(pixels.astype("int64")) <= LARGEST_EXACT).all():
            raise UnreadableImage(f"integers beyond {LARGEST_EXACT:,}, which float32 cannot hold")
    elif image.mode != "F" and from_white:
        # 0 is white in this file, which Pillow minds up to 8 bits only.
        pixels = 2**bits - 1 - pixels.astype("int64")
    return pixels[..., None]


# A folder


class _WholeImages:
    """Asks about the images of a folder that can be decoded whole, decoding as few as possible.

    A header alone decides nothing: a file that is cut off behind it would set the size, the
    channels or the dtype of all others.
    """

    def __init__(self, headers: dict[pathlib.Path, Header]):
        self.headers = headers
        self._known: dict[pathlib.Path, bool] = {}

    def any(self, has: Callable[[Header], bool]) -> pathlib.Path | None:
        """The first whole image whose header is like that, or None."""
        paths = (path for path, header in self.headers.items() if has(header))
        return next((path for path in paths if self._is_whole(path)), None)

    def _is_whole(self, path):
        if path not in self._known:
            try:
                header = self.headers[path]
                read_image(path, header.size, 1 if header.grey else 3, header.dtype)
                self._known[path] = True
            except UnreadableImage:
                self._known[path] = False
        return self._known[path]


def _common_dtype(whole):
    """One dtype for all images of a folder."""
    examples = {}
    for dtype in dict.fromkeys(header.dtype for header in whole.headers.values()):
        path = whole.any(lambda header, dtype=dtype: header.dtype == dtype)
        if path is not None:
            examples[dtype] = path
    if "float32" in examples and len(examples) > 1:
        received = " and ".join(f"{path} ({dtype})" for dtype, path in sorted(examples.items()))
        raise ValueError(
            "`source` must hold images of 8 and 16 bits, or of 32 bits, which have no range of "
            f"pixels to scale by, but not both. Received: {received}"
        )
    if len(examples) > 1:
        warnings.warn(
            "Images of 8 and 16 bits are read as uint16, those of 8 bits times 257: "
            f"{examples['uint8']} and {examples['uint16']} are among them.",
            stacklevel=5,
        )
    return max(examples, key=("uint8", "uint16", "float32").index) if examples else "uint8"


def _common_size(whole, folder):
    """The size of all images of a folder, or that to which several sizes are resized."""
    sizes = Counter(header.size for header in whole.headers.values())
    found, wrong = [], 0
    # If all headers agree nothing is decoded, and two sizes of whole images are enough to know.
    for size, _ in sizes.most_common():
        if len(sizes) == 1 or whole.any(lambda header, size=size: header.size == size):
            found.append(size)
        else:
            wrong += 1
        if len(found) == 2:
            warnings.warn(
                f"The images of {folder} have {len(sizes) - wrong} different sizes and are resized "
                f"to {MIXED_SIZE[0]}x{MIXED_SIZE[1]}; pass image_size=(height, width) to choose.",
                stacklevel=5,
            )
            return MIXED_SIZE
    return found[0] if found else MIXED_SIZE


def _classes(folders, parts, listed):
    """(the class numbers or None, an image beside the class folders) of each split that has them.

    One numbering over all splits and all image files, so that a class has the same number in each
    split, whether a file is damaged or not.
    """

    def class_of(name, path):
        below = path.relative_to(folders[name]).parts[:-1]
        return below[0] if below else None

    found = {class_of(name, path) for name, paths in listed.items() for path in paths}
    numbers = {name: number for number, name in enumerate(sorted(found - {None}))}
    classes, strays = {}, {}
    for name, paths in parts.items():
        names = [class_of(name, path) for path in paths]
        classes[name] = None
        if None not in names:
            classes[name] = np.array([numbers[name] for name in names])
        elif any(names):
            stray = strays[name] = paths[names.index(None)]
            warnings.warn(
                f"The images of {folders[name]} have no labels, as not all are in class folders: "
                f"{stray} lies beside them.",
                stacklevel=5,
            )
    return classes, strays


def _in_threads(do, items) -> list:
    """What `do` returns for each item, or the UnreadableImage that it raised."""

    def one(item):
        try:
            return do(item)
        except UnreadableImage as error:
            return error

    # Threads are enough, as Pillow decodes and resizes without holding Python's lock.
    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, items))


def _warn_of_broken(failed: dict):
    _warn_of("files that are not readable images", [f"{p} ({why})" for p, why in failed.items()])


def _warn_of_frames(paths):
    if paths:
        warnings.warn(f"Only the first frame is read of {_listed(paths)}", stacklevel=6)


def _warn_of_files_beside_splits(folder):
    """Names what lies beside the folders of splits, as a user may take it for data."""
    beside = [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".")
        and (path.suffix.lower() in SUFFIXES if path.is_file() else path.name not in SPLITS)
    ]
    _warn_of(f"what is not in the folders {', '.join(SPLITS)}", beside)


def _warn_of(what, paths):
    if paths:
        warnings.warn(f"Skipped {what}: {_listed(paths)}", stacklevel=6)


def _listed(paths):
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(str(path) for path in paths[:5]) + more
