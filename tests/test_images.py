"""Folders of images: depths, sizes, transparency, class folders, what is left out."""

import io
import os
import pathlib
import re
import struct
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

import aezoo
from aezoo.cli.app import reconstruct
from aezoo.data import arrays, load, splits
from aezoo.data._images import list_images
from tests.conftest import small

RNG = np.random.default_rng(0)


def pixels(shape=(6, 5), dtype="uint16"):
    return RNG.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def png(width, height, bits, colour_type, rows):
    """The bytes of a PNG, of rows of bytes as its header claims them, or not."""

    def chunk(kind, data):
        content = kind + data
        return struct.pack(">I", len(data)) + content + struct.pack(">I", zlib.crc32(content))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def png_16(x):
    """A PNG of 16 bits, which Pillow writes for grey alone."""
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[x.shape[-1]]
    return png(x.shape[1], x.shape[0], 16, colour_type, [row.astype(">u2").tobytes() for row in x])


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)


def streamed(source, **options):
    dataset = load(source, shuffle=False, memory_limit=0, **options)
    return np.concatenate([batch.numpy() for batch in dataset])


# Depths


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_kept_to_the_bit(tmp_path, suffix):
    x = pixels()
    x[0, :3] = 0, 255, 65535
    save(tmp_path / f"a{suffix}", x)
    read = arrays(tmp_path)
    assert (read.dtype, read.shape) == (np.uint16, (1, 6, 5, 1))
    np.testing.assert_array_equal(read[0, ..., 0], x)
    np.testing.assert_array_equal(streamed(tmp_path), read)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_of_every_kind_of_png_are_kept_to_the_bit(tmp_path, channels):
    """Pillow cuts all but grey to 8 bits."""
    x = pixels((6, 5, channels))
    colours = 3 if channels > 2 else 1
    if colours != channels:
        x[..., -1] = 65535  # opaque
        x[0, 0, -1] = 0
    (tmp_path / "a.png").write_bytes(png_16(x))
    read = arrays(tmp_path)
    expected = x[..., :colours].copy()
    if colours != channels:
        expected[0, 0] = 65535  # transparent is white
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read[0], expected)


def test_12_bits_keep_their_values(tmp_path):
    x = pixels() >> 4
    save(tmp_path / "a.png", x)
    np.testing.assert_array_equal(arrays(tmp_path)[0, ..., 0], x)


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (np.array([[-1.5, 1e9], [np.pi, 0]], "float32"), {}),
        (np.array([[-7, 70_000], [2**24, 0]], "int32"), {}),
        (np.array([[-7, 7], [30_000, 0]], "int16"), {}),
        (np.array([[1, 70_000], [2**24, 0]], "uint32"), {}),
        (np.array([[0.25, 0.5]], "float32"), {"byteorder": ">"}),
    ],
)
def test_tiff_of_other_numbers_is_float32_as_it_is(tmp_path, x, options):
    tifffile.imwrite(tmp_path / "a.tif", x, **options)
    read = arrays(tmp_path)
    assert (read.dtype, read.shape) == (np.float32, (1, *x.shape, 1))
    np.testing.assert_array_equal(read[0, ..., 0], x)
    np.testing.assert_array_equal(streamed(tmp_path), read)


@pytest.mark.parametrize(
    ("x", "options", "reason"),
    [
        (
            pixels((6, 5, 3)),
            {"photometric": "rgb"},
            "colours with 16 bits, of which Pillow reads 8",
        ),
        (np.full((6, 5), 2**24 + 1, "int32"), {}, "integers beyond 16,777,216"),
        (np.full((6, 5), 2**32 - 1, "uint32"), {}, "integers beyond 16,777,216"),
        (np.full((6, 5), -3, "int8"), {}, "signed pixels with 8 bits"),
        (np.full((6, 5), 0.5), {}, "not in a format that is read"),
    ],
)
def test_what_would_lose_bits_is_left_out_by_name(tmp_path, x, options, reason):
    save(tmp_path / "b.png", pixels(dtype="uint8"))
    tifffile.imwrite(tmp_path / "a.tif", x, **options)
    with pytest.warns(UserWarning, match=rf"not readable images: .*a\.tif \(.*{reason}"):
        assert len(arrays(tmp_path, image_size=(6, 5))) == 1


def test_0_is_white_where_a_tiff_says_so(tmp_path):
    x = pixels()
    tifffile.imwrite(tmp_path / "a.tif", x, photometric="miniswhite")
    np.testing.assert_array_equal(arrays(tmp_path)[0, ..., 0], 65535 - x)


def test_8_and_16_bits_in_one_folder_have_one_range(tmp_path):
    deep, shallow = pixels(), pixels(dtype="uint8")
    save(tmp_path / "a.png", deep)
    save(tmp_path / "b.png", shallow)
    with pytest.warns(UserWarning, match=r"read as uint16, those of 8 bits times 257: .*b\.png"):
        x = arrays(tmp_path)
    np.testing.assert_array_equal(x[0, ..., 0], deep)
    np.testing.assert_allclose(x[1, ..., 0] / 65535, shallow / 255, rtol=1e-12)


def test_splits_have_one_depth(tmp_path):
    save(tmp_path / "train" / "a.png", pixels())
    save(tmp_path / "test" / "a.png", pixels(dtype="uint8"))
    with pytest.warns(UserWarning, match="times 257"):
        assert arrays(tmp_path, "test").dtype == np.uint16


def test_floats_and_pixels_in_one_folder_are_refused(tmp_path):
    save(tmp_path / "a.tif", np.zeros((6, 5), "float32"))
    save(tmp_path / "b.png", pixels(dtype="uint8"))
    message = r"but not both\. Received: .*a\.tif \(float32\) and .*b\.png \(uint8\)"
    with pytest.raises(ValueError, match=message):
        arrays(tmp_path)


def test_16_bits_are_resized_and_turned_as_8_are(tmp_path):
    x = np.zeros((20, 40), "uint16")
    x[:, 30:] = 40_000
    image = Image.fromarray(x)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    image.save(tmp_path / "a.png", exif=exif)
    assert arrays(tmp_path).shape == (1, 40, 20, 1)
    small = arrays(tmp_path, image_size=(8, 4))[0, ..., 0]
    assert (small[:5] == 0).all()
    assert (small[7:] == 40_000).all()


def test_a_turned_tiff_has_the_size_that_it_is_read_at(tmp_path):
    x = np.zeros((4, 10), "uint8")
    x[0, 0] = 255
    image = Image.fromarray(x)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.tif", exif=exif)
    np.testing.assert_array_equal(arrays(tmp_path)[0, ..., 0], np.rot90(x, -1))


def test_reconstruct_writes_the_depth_that_it_read(tmp_path):
    model = small("dense_ae", (6, 5, 3), hidden_units=(8,))
    model.save(tmp_path / "model.keras")
    deep, shallow = pixels((6, 5, 3)), pixels((6, 5, 3), "uint8")
    (tmp_path / "deep.png").write_bytes(png_16(deep))
    save(tmp_path / "shallow.png", shallow)
    out = tmp_path / "out"
    for images in (["deep.png"], ["shallow.png"], ["deep.png", "shallow.png"]):
        reconstruct(tmp_path / "model.keras", [tmp_path / n for n in images], out, overwrite=True)
        for name, x in (("deep.png", deep), ("shallow.png", shallow)):
            if name in images:
                content = (out / name).read_bytes()
                largest = np.iinfo(x.dtype).max
                assert content[24] == x.dtype.itemsize * 8
                [written] = read_alone(tmp_path / "check", content)
                expected = model.reconstruct(x[None])[0] * largest
                np.testing.assert_allclose(written, expected, atol=0.6 if largest == 255 else 1)
    assert len(np.unique(written >> 8)) > 1 or written.dtype == np.uint8


def read_alone(folder, content):
    folder.mkdir(exist_ok=True)
    (folder / "a.png").write_bytes(content)
    return arrays(folder)


def test_reconstruct_refuses_what_png_does_not_hold(tmp_path):
    small("dense_ae", (6, 5, 1), hidden_units=(8,)).save(tmp_path / "model.keras")
    save(tmp_path / "a.tif", np.zeros((6, 5), "float32"))
    with pytest.raises(ValueError, match=r"pixels of 8 or 16 bits.*Received: .*a\.tif"):
        reconstruct(tmp_path / "model.keras", [tmp_path / "a.tif"], tmp_path / "out")
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"Received: .*b\.png \(not in a format that is read\)"):
        reconstruct(tmp_path / "model.keras", [tmp_path / "b.png"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


# What a damaged file must not decide


def cut_off(path, x, format="jpeg"):
    content = io.BytesIO()
    Image.fromarray(x).save(content, format)
    path.write_bytes(content.getvalue()[:-300])


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("x", "suffix"),
    [(pixels((40, 50, 3), "uint8"), "jpeg"), (pixels((40, 50)), "png")],
)
def test_a_cut_off_image_decides_nothing(tmp_path, x, suffix, first):
    for i in range(3):
        save(tmp_path / f"{i}.png", pixels((8, 8), "uint8"))
    cut_off(tmp_path / f"{'-' if first else 'z'}.{suffix}", x, suffix)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read = arrays(tmp_path)
    assert (read.shape, read.dtype) == ((3, 8, 8, 1), np.uint8)
    assert caught
    assert all(re.search("truncated|cut off", str(warning.message)) for warning in caught)
    np.testing.assert_array_equal(streamed(tmp_path), read)


def test_sizes_are_counted_of_whole_images(tmp_path):
    save(tmp_path / "a.png", pixels((8, 8), "uint8"))
    save(tmp_path / "b.png", pixels((9, 9), "uint8"))
    cut_off(tmp_path / "c.jpeg", pixels((40, 50, 3), "uint8"))
    cut_off(tmp_path / "d.jpeg", pixels((40, 50, 3), "uint8"))
    with pytest.warns(UserWarning, match=r"have 2 different sizes") as caught:
        assert arrays(tmp_path).shape == (2, 64, 64, 1)
    assert any("c.jpeg (image file is truncated" in str(w.message) for w in caught)


def test_nothing_but_damaged_images_is_one_sentence(tmp_path):
    cut_off(tmp_path / "a.png", pixels((40, 50, 3), "uint8"), "png")
    for read in (arrays, streamed):
        with (
            pytest.warns(UserWarning, match="not readable images"),
            pytest.raises(ValueError, match=r"at least one readable sample\. Received: .*"),
        ):
            read(tmp_path)


def test_a_few_bytes_that_claim_many_pixels_are_not_decoded(tmp_path):
    rows = [bytes(1500)] * 12_000
    (tmp_path / "bomb.png").write_bytes(png(12_000, 12_000, 1, 0, rows))
    (tmp_path / "huge.png").write_bytes(png(2**31 - 1, 2**31 - 1, 8, 0, []))
    save(tmp_path / "a.png", pixels(dtype="uint8"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert arrays(tmp_path).shape == (1, 6, 5, 1)
    text = " ".join(str(warning.message) for warning in caught)
    for name in ("bomb", "huge"):
        assert re.search(rf"{name}\.png \(more pixels than PIL.Image.MAX_IMAGE_PIXELS, 89,", text)
    with pytest.raises(ValueError, match=r"at most 67,108,864 pixels\. Received: 100000"):
        load(tmp_path, image_size=100_000)


# What is seen of an image


def painted(mode, colour, **options):
    return Image.new(mode, (5, 6), colour), options


def palette():
    image = Image.new("P", (5, 6), 1)
    image.putpalette([255, 0, 0, 0, 255, 0] + [0] * 750)
    return image, {"transparency": 1}


@pytest.mark.parametrize(
    ("suffix", "painted", "expected"),
    [
        ("png", painted("RGBA", (9, 200, 9, 0)), (255, 255, 255)),
        ("png", painted("RGBA", (0, 0, 0, 51)), (204, 204, 204)),
        ("png", painted("RGBA", (1, 2, 3, 255)), (1, 2, 3)),
        ("png", painted("LA", (7, 0)), (255,)),
        ("png", painted("L", 7, transparency=7), (255,)),
        ("png", palette(), (255, 255, 255)),
        ("gif", palette(), (255, 255, 255)),
        ("webp", painted("RGBA", (9, 200, 9, 0), lossless=True), (255, 255, 255)),
        ("tif", painted("CMYK", (255, 0, 0, 0)), (0, 255, 255)),
        ("png", painted("1", 1), (255,)),
    ],
)
def test_transparent_is_white(tmp_path, suffix, painted, expected):
    image, options = painted
    image.save(tmp_path / f"a.{suffix}", **options)
    read = arrays(tmp_path)
    assert read.shape == (1, 6, 5, len(expected))
    assert {tuple(pixel) for pixel in read.reshape(-1, len(expected))} == {expected}


def test_of_several_frames_the_first_is_read_with_a_warning(tmp_path):
    frames = [Image.new("L", (5, 6), value) for value in (10, 90, 170)]
    for name in ("a.gif", "b.tif", "c.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "d.gif")
    with pytest.warns(UserWarning, match=r"first frame is read of .*a\.gif, .*b\.tif, .*c\.png$"):
        read = arrays(tmp_path)
    assert (read == 10).all()


# Which files are images, and their classes


def test_hidden_files_and_folders_are_no_data(tmp_path):
    for name in ("cat/a", "dog/a", ".thumbs/a", "cat/._a", ".h", "dog/.ipynb_checkpoints/z"):
        save(tmp_path / f"{name}.png", pixels(dtype="uint8"))
    x, y = arrays(tmp_path, labels=True)
    assert (len(x), list(y)) == (2, [0, 1])


def test_formats_that_are_not_read_are_named(tmp_path):
    save(tmp_path / "a.jp2", pixels((64, 64), "uint8"))
    (tmp_path / "b.HEIC").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not taken for an image")
    save(tmp_path / "c.jfif", pixels(dtype="uint8"), format="jpeg")
    with pytest.warns(UserWarning, match=r"formats that are not read: \S*a\.jp2, \S*b\.HEIC$"):
        assert len(arrays(tmp_path)) == 1


def test_a_suffix_does_not_reach_other_decoders(tmp_path):
    """PostScript, which Pillow hands to Ghostscript, is no image here whatever its name is."""
    save(tmp_path / "a.png", pixels(dtype="uint8"))
    (tmp_path / "b.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.warns(UserWarning, match=r"b\.png \(not in a format that is read\)"):
        assert len(arrays(tmp_path)) == 1


def test_classes_have_the_same_numbers_in_every_split(tmp_path):
    value = {name: 10 * i for i, name in enumerate("abcd")}
    for split, names in (("train", "abc"), ("validation", "d"), ("test", "bcd")):
        for name in names:
            path = tmp_path / split / name / "1.png"
            save(path, np.full((6, 5), value[name], "uint8"))
    for split, numbers in (("train", [0, 1, 2]), ("validation", [3]), ("test", [1, 2, 3])):
        x, y = arrays(tmp_path, split, labels=True)
        assert list(y) == numbers
        np.testing.assert_array_equal(x[:, 0, 0, 0], 10 * y)


def test_an_image_beside_class_folders_is_named(tmp_path):
    for name in ("cat/a", "dog/a", "logo"):
        save(tmp_path / f"{name}.png", pixels(dtype="uint8"))
    with pytest.warns(UserWarning, match=r"have no labels, .*: \S*logo\.png lies beside"):
        assert len(arrays(tmp_path)) == 3
    for read in (arrays, streamed):
        with (
            pytest.warns(UserWarning, match="no labels"),
            pytest.raises(ValueError, match=r"must be False for .*, such as \S*logo\.png\. Rec"),
        ):
            read(tmp_path, labels=True)


def test_what_lies_beside_the_splits_is_named(tmp_path):
    for name in ("train/a", "val/a", "x"):
        save(tmp_path / f"{name}.png", pixels(dtype="uint8"))
    with pytest.warns(UserWarning, match=r"not in the folders train, .*: \S*val, \S*x\.png$"):
        assert splits(tmp_path) == ("train",)


def test_test_images_alone_are_no_training_images(tmp_path):
    save(tmp_path / "test" / "a" / "1.png", pixels(dtype="uint8"))
    assert splits(tmp_path) == ("test",)
    with pytest.raises(ValueError, match=r"one of 'test'\. Received: 'train'"):
        arrays(tmp_path)


def test_links_are_followed_and_loops_are_not(tmp_path):
    save(tmp_path / "elsewhere" / "1.png", np.full((6, 5), 10, "uint8"))
    data = tmp_path / "data"
    save(data / "dog" / "1.png", np.full((6, 5), 20, "uint8"))
    (data / "cat").symlink_to(tmp_path / "elsewhere")
    (data / "dog" / "loop").symlink_to(data)
    (data / "dog" / "itself.png").symlink_to("itself.png")
    (data / "dog" / "nowhere.png").symlink_to("/nowhere.png")
    x, y = arrays(data, labels=True)
    # the loop brings the cats into the folder of dogs once, and no further
    assert (x[0, 0, 0, 0], y[0]) == (10, 0)
    assert len(list_images(data)) <= 3


def test_names_need_not_be_text(tmp_path):
    content = io.BytesIO()
    Image.fromarray(pixels(dtype="uint8")).save(content, "png")
    names = [b"\xff\xfe.png", b"a\nb.png", b"*.png", "\u00fc \U0001f600.png".encode()]
    for name in names:
        pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(
            content.getvalue()
        )
    read = arrays(tmp_path)
    assert len(read) == 4
    np.testing.assert_array_equal(streamed(tmp_path), read)


def test_a_model_takes_16_bits_by_their_range(tmp_path):
    x = pixels((8, 8))
    save(tmp_path / "a.png", x)
    model = small("dense_ae", hidden_units=(8,))
    expected = model.encode((x / 65535).astype("float32")[None, ..., None])
    np.testing.assert_allclose(model.encode(arrays(tmp_path)), expected, rtol=1e-5, atol=1e-6)
    assert aezoo.data.load(tmp_path).element_spec.dtype == "uint16"
