"""Tables, arrays and folders as they should not be: the right data, or one sentence."""

import io
import os
import re
import struct
import warnings
import zipfile

import numpy as np
import pytest
from PIL import Image

from aezoo.data import arrays, load

SENTENCE = re.compile(r"[^\n]*Received: [^\n]*")
X = np.arange(120, dtype="float32").reshape(30, 4)


def outcome(source, warning=None, **options):
    """The arrays that a source gives, which are those that it streams; named if it warns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read = arrays(source, **options)
        x, y = read if isinstance(read, tuple) else (read, None)
        batches = list(load(source, shuffle=False, memory_limit=0, **options).as_numpy_iterator())
    if y is not None:
        batches, labels = zip(*batches, strict=True)
        labels = np.concatenate(labels)
        np.testing.assert_array_equal(labels.astype(y.dtype), y)
    np.testing.assert_array_equal(np.concatenate(batches), x)
    messages = [str(w.message) for w in caught if w.category is UserWarning]
    if warning is None:
        assert not messages
    else:
        assert any(re.search(warning, message) for message in messages), messages
    return x, y


def refused(source, message, **options):
    for read in (arrays, lambda source, **options: list(load(source, memory_limit=0, **options))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises((ValueError, FileNotFoundError)) as error:
                read(source, **options)
        assert SENTENCE.fullmatch(str(error.value)), str(error.value)
        assert re.search(message, str(error.value)), str(error.value)


# CSV


@pytest.mark.parametrize(
    ("text", "x", "warning"),
    [
        ("a,b\n1,2\n", [[1, 2]], None),
        ("\ufeffa,b\r\n1,2\r\n\r\n", [[1, 2]], None),
        ('"a","b"\n" 1 ","2e1"\n', [[1, 20]], None),
        ("a,b\r1,2\r", [[1, 2]], None),
        ("1,2\n3,4\n", [[1, 2], [3, 4]], None),
        ("0,1\n3,4\n", [[3, 4]], "first row of .* header, as pandas writes such headers"),
        ("0,1.0\n3,4\n", [[0, 1], [3, 4]], None),
        ("0\n1\n", [[0], [1]], None),
        ("a,2020\n3,4\n", [[3, 4]], "first row of .* header, as not all of its cells are numbers"),
        (",a,b\n0,5,6\n1,7,8\n", [[5, 6], [7, 8]], "first column of .* has no name"),
        (",0,1\n0,5,6\n1,7,8\n", [[5, 6], [7, 8]], "first column of .* has no name"),
        ("a,b\nnan,inf\n", [[np.nan, np.inf]], None),
    ],
)
def test_tables_that_are_read(tmp_path, text, x, warning):
    (tmp_path / "t.csv").write_text(text, newline="")
    read, _ = outcome(tmp_path / "t.csv", warning)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, x)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,a\n1,2\n", r"columns of different names\. Received: 'a' more than once"),
        (",a,\n1,2,3\n", r"columns of different names\. Received: '' more than once"),
        ("a,b\n1_0,2\n", r"numbers only\. Received: '1_0' in 'a'"),
        ("1_0,2\n3,4\n", r"numbers only\. Received: '1_0' in the first row"),
        ("1;2\n3;4\n", r"numbers only\. Received: '3;4' in '1;2'"),
        ("a\tb\n1\t2\n", r"numbers only"),
        ("a;b\n1,5;2\n", r"1 columns in each row"),
        ("a,b\n0x10,2\n", r"'0x10' in 'a'"),
        ('a,b\n"1,000",2\n', r"'1,000' in 'a'"),
        ("a,b\n5%,2\n", r"'5%' in 'a'"),
        ("a,b\nTrue,2\n", r"'True' in 'a'"),
        ("a,b\n,2\n", r"'' in 'a'"),
        ("a,b,\n1,2,\n", r"numbers only\. Received: '' in ''"),
        ("a,b\n1e39,2\n", r"range of float32\. Received: '1e39' in 'a'"),
        ("a,b\n" + "1" * 400 + ",2\n", r"range of float32\. Received: '1{20}' in 'a'"),
        ("a,b\n" + "1" * 200_000 + ",2\n", r"field larger than field limit"),
        ('a,b\n"1,2\n3,4\n', r"2 columns in each row"),
        ("t,a\n2020-01-01,2\n", r"'2020-01-01' in 't'"),
        ("# made by hand\n1,2\n", r"1 columns in each row"),
        ("\n\n", r"at least one row"),
        ("label\n1\n", r"a column of inputs"),
        ("label,a,Label\n1,2,3\n", r"one column of labels\. Received: 'label' and 'Label'"),
        ("a,label,target\n1,2,3\n", r"one column of labels"),
        (b"a,b\n1,\x002\n", r"numbers only"),
        ("\xe4,b\n1,2\n".encode("latin1"), r"codec can't decode"),
        ("a,b\n1,2\n".encode("utf16"), r"codec can't decode"),
        (b"\x1f\x8b\x08\x00", r"codec can't decode"),
    ],
)
def test_tables_that_are_refused(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(path, message)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("3", " 1"), np.array([3, 1])),
        (("3.5", "1"), np.array(["3.5", "1"])),
        (("x", "y"), np.array(["x", "y"])),
        (("07", "7"), np.array(["07", "7"])),
        (("1_0", "1"), np.array(["1_0", "1"])),
    ],
)
def test_labels_of_tables(tmp_path, cells, expected):
    (tmp_path / "t.csv").write_text(f"a,Label\n1,{cells[0]}\n2,{cells[1]}\n")
    x, y = outcome(tmp_path / "t.csv", labels=True)
    assert y.dtype == expected.dtype
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(x, [[1], [2]])


@pytest.mark.parametrize(
    ("text", "missing"),
    [("a,label\n1,nan\n2,3\n", "<U1, 1"), ("a,label\n1,x\n2, \n3,NaN\n", "<U1, 2")],
)
def test_missing_labels_are_refused_where_labels_are_asked_for(tmp_path, text, missing):
    (tmp_path / "t.csv").write_text(text)
    outcome(tmp_path / "t.csv")
    refused(tmp_path / "t.csv", rf"none that is missing\. .*dtype {missing} of", labels=True)


@pytest.mark.parametrize("y", [np.full(30, np.nan), np.zeros(30, "M8[D]")])
def test_labels_of_npz_files(tmp_path, y):
    np.savez(tmp_path / "t.npz", x=X, y=y)
    outcome(tmp_path / "t.npz")
    refused(tmp_path / "t.npz", r"labels that are numbers or texts", labels=True)


# NumPy files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x": X, "y": np.arange(5)}, r"one label per sample\. Received: y of shape \(5,\)"),
        ({"x_train": X, "x_test": X, "y_test": X[:3, 0]}, r"Received: y_test of shape \(3,\)"),
        ({"x": X, "y": np.array(3)}, r"one label per sample"),
        ({"x": X, "x_train": X}, r"named x or x_train\. Received: both"),
        (
            {"x_train": X, "y_test": X[:, 0]},
            r"inputs for its labels\. Received: y_test without x_t",
        ),
        ({"a": X, "b": X}, r"with a, b"),
        ({}, r"with no array"),
        ({"x": np.array([["a"]])}, r"dtype <U1"),
        ({"x": X.astype("complex64")}, r"dtype complex64"),
        ({"x": X[:, :0]}, r"a value per sample\. Received: shape \(30, 0\)"),
    ],
)
def test_npz_files_that_are_refused(tmp_path, content, message):
    np.savez(tmp_path / "t.npz", **content)
    refused(tmp_path / "t.npz", message)


def test_other_arrays_of_an_npz_file_are_named(tmp_path):
    np.savez(tmp_path / "t.npz", x=X, labels=X[:, 0], years=X[:, 0])
    with pytest.warns(UserWarning, match=r"are left out: labels, years in .*t\.npz"):
        x = arrays(tmp_path / "t.npz")
    np.testing.assert_array_equal(x, X)


def npy(shape, dtype="<f4"):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (117 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


@pytest.mark.parametrize("shape", ["(1000000000000, 100)", "(-1, 4)", "(10**6, 4)", "(3, 4)"])
def test_npy_files_whose_header_is_wrong(tmp_path, shape):
    (tmp_path / "t.npy").write_bytes(npy(shape))
    refused(tmp_path / "t.npy", r"a whole \.npy file")


def test_npz_files_that_are_damaged(tmp_path):
    np.savez_compressed(tmp_path / "t.npz", x=X)
    content = bytearray((tmp_path / "t.npz").read_bytes())
    content[len(content) // 2 - 40] ^= 255
    (tmp_path / "t.npz").write_bytes(content)
    refused(tmp_path / "t.npz", r"a whole \.npz file")
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as file:
        file.writestr("x.npy", b"hello")
    refused(tmp_path / "t.npz", r"`source` must be")


@pytest.mark.parametrize(
    "x",
    [
        X.astype(">f4"),
        X.astype(">u2"),
        np.asfortranarray(X),
        X.astype("longdouble"),
        X > 5,
        X.astype("float16"),
        np.ma.masked_array(X, mask=False),
        np.matrix(X),
    ],
)
def test_arrays_that_are_read(tmp_path, x):
    read, _ = outcome(x)
    np.testing.assert_array_equal(read, np.asarray(x))
    assert type(read) is np.ndarray
    np.save(tmp_path / "t.npy", np.asarray(x))
    np.testing.assert_array_equal(outcome(tmp_path / "t.npy")[0], np.asarray(x))


class Liar:
    shape, dtype = (3, 4), "float32"

    def __array__(self, *_, **__):
        raise RuntimeError("no")


class Frame:
    """What pandas and polars have in common."""

    def __init__(self, **columns):
        self.columns = list(columns)
        self._columns = list(columns.values())

    def to_numpy(self):
        kinds = {np.asarray(column).dtype.kind for column in self._columns}
        x = np.array(self._columns, object).T
        return x if len(kinds) > 1 or "U" in kinds else x.astype(float)

    def __array__(self, dtype=None, copy=None):
        return self.to_numpy()

    def __repr__(self):
        return "   a  b\n0  1  2"


def test_data_frames():
    x, _ = outcome(Frame(a=[1, 2], b=[True, False], c=[np.nan, 0.5]))
    np.testing.assert_array_equal(x, [[1, 1, np.nan], [2, 0, 0.5]])
    for column in (["u", "v"], [None, 1], ["1", "2"], [1j, 2]):
        refused(Frame(a=[1, 2], c=column), r"a data frame of numbers only.* other values in 'c'$")
    refused(Frame(a=[], b=[]), r"at least one sample")


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (np.ma.masked_array(X, X == 3), {}, r"without masked values.*Received: 1 of 120"),
        (np.ma.masked_array(X.astype(int), X < 2), {}, r"without masked values"),
        (None, {}, r"Received: NoneType"),
        (3, {}, r"Received: int"),
        (b"digits", {}, r"Received: bytes"),
        ("", {}, r"empty text"),
        ("a\0b", {}, r"must be a path"),
        ("x" * 5000, {}, r"File name too long"),
        ("https://example.com/x.npz", {}, r"existing file or folder"),
        ([[1, 2], [3]], {}, r"Received: list"),
        ([["a"]], {}, r"dtype <U1"),
        (Liar(), {}, r"Received: Liar"),
        ({1, 2}, {}, r"Received: set"),
        ((X, X), {}, r"one array, not a tuple of arrays"),
        ((X, np.arange(30)), {}, r"one array, not a tuple of arrays"),
        (X, {"labels": True}, r"`labels` must be False for a source without labels"),
        (X, {"limit": True}, r"`limit`"),
        (X, {"validation_split": float("nan")}, r"`validation_split`"),
        ("digits", {"image_size": 28}, r"size \(28, 28\), as arrays are not resized\. .*\(8, 8\)"),
        ("digits", {"image_size": 10**9}, r"at most 67,108,864 pixels"),
    ],
)
def test_sources_that_are_refused(source, options, message):
    refused(source, message, **options)


# Images


def image(folder, name, **options):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((6, 5), 99, "uint8")).save(path, **options)
    return path.read_bytes()


def exif(value, kind=3):
    field = struct.pack("<HHI", 0x0112, kind, 1 if kind == 3 else 4) + value
    return {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0" + field + b"\0" * 4}


@pytest.mark.parametrize(
    "options",
    [exif(struct.pack("<I", 99)), exif(b"six\0", kind=2), {"exif": b"Exif\0\0nonsense"}],
)
def test_nonsense_of_an_orientation_is_passed_over(tmp_path, options):
    image(tmp_path, "a.jpg", **options)
    assert outcome(tmp_path)[0].size == 30


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.png", b""),
        ("b.png", b"<svg/>"),
        ("b.tif", b"II*\0\x08\0\0\0\xff\xff"),
        ("b.gif", b"GIF89a\0\0\0\0\0\0\0;"),
        ("b.bmp", b"BM" + bytes(52)),
        ("b.jpg", b"\xff\xd8\xff\xe0" + bytes(9)),
        ("b.webp", b"RIFF\0\0\0\0WEBPVP8 "),
        ("b.png", b"\x89PNG\r\n\x1a\n" + bytes(20)),
    ],
)
def test_files_that_are_no_images_are_named(tmp_path, name, content):
    image(tmp_path, "a.png")
    (tmp_path / name).write_bytes(content)
    x, _ = outcome(tmp_path, rf"not readable images: \S*{re.escape(name)} \(.+\)$")
    assert (x.shape, x.max()) == ((1, 6, 5, 1), 99)
    (tmp_path / "a.png").unlink()
    refused(tmp_path, r"at least one readable image")


def test_every_cut_of_an_image_is_the_whole_image_or_named(tmp_path):
    content = image(tmp_path, "a.png")
    whole = outcome(tmp_path)[0]
    for suffix in ("png", "jpg", "tif"):
        content = image(tmp_path, f"b.{suffix}")
        for length in range(0, len(content), 7):
            (tmp_path / f"b.{suffix}").write_bytes(content[:length])
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                read = arrays(tmp_path)
            assert len(read) == 2 or any("not readable" in str(w.message) for w in caught)
            np.testing.assert_array_equal(read[:1], whole)
        (tmp_path / f"b.{suffix}").unlink()


@pytest.mark.parametrize(
    ("names", "options", "labels"),
    [
        (["train/a/1", "train/b/1"], {}, [0, 1]),
        (["a/x/1", "b/y/z/1"], {}, [0, 1]),
        (["b/1"], {}, [0]),
        (["train/a/1", "train/b/1", "test/b/1"], {"split": "test"}, [1]),
    ],
)
def test_folders_of_classes(tmp_path, names, options, labels):
    (tmp_path / "empty").mkdir() if "train" not in names[0] else None
    for name in names:
        image(tmp_path, f"{name}.png")
    assert list(outcome(tmp_path, labels=True, **options)[1]) == labels


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["a"], {"labels": True}, r"without a folder per class"),
        (["train/1", "test/a/1"], {"labels": True}, r"without a folder per class"),
        (["train/a/1"], {"split": "test"}, r"one of 'train'"),
        (["train/a/1", "test/"], {}, r"at least one readable image .*/test$"),
    ],
)
def test_folders_that_are_refused(tmp_path, names, options, message):
    for name in names:
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        else:
            image(tmp_path, f"{name}.png")
    refused(tmp_path, message, **options)


def test_what_is_no_file_is_no_image(tmp_path):
    image(tmp_path, "a.png")
    image(tmp_path, "B.PNG")
    (tmp_path / "c.png").mkdir()
    os.mkfifo(tmp_path / "d.png")
    (tmp_path / "e.png").symlink_to("/nowhere.png")
    assert len(outcome(tmp_path)[0]) == 2


def test_a_damaged_file_does_not_shift_the_numbers_of_classes(tmp_path):
    image(tmp_path, "b/1.png")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"damaged")
    assert list(outcome(tmp_path, "not readable", labels=True)[1]) == [1]


def test_a_suffix_need_not_be_right(tmp_path):
    content = io.BytesIO()
    Image.fromarray(np.full((6, 5), 99, "uint8")).save(content, "bmp")
    (tmp_path / "a.png").write_bytes(content.getvalue())
    assert (outcome(tmp_path)[0] == 99).all()
