"""Every source, good and bad, as a pipeline and as arrays."""

import pathlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from aezoo.data import arrays, load, splits
from tests.conftest import run_python, tfds_folder


def all_of(dataset):
    return np.concatenate([batch.numpy() for batch in dataset])


@pytest.fixture
def images(tmp_path):
    """Five grey pictures of one size: 0, 10, 20, ..."""
    for i in range(5):
        Image.fromarray(np.full((6, 9), i * 10, "uint8")).save(tmp_path / f"{i}.png")
    return tmp_path


def test_digits_are_real_and_split():
    x = arrays("digits")
    assert (x.shape, x.dtype, x.max()) == ((1437, 8, 8, 1), np.uint8, 255)
    test, test_y = arrays("digits", "test", labels=True)
    assert len(test) == 360
    assert np.bincount(test_y, minlength=10).min() > 20
    both = {image.tobytes() for image in x} & {image.tobytes() for image in test}
    assert not both


def test_pipeline_has_static_shape_known_length_and_keeps_the_last_batch():
    dataset = load("digits", batch_size=100)
    assert dataset.element_spec.shape == (None, 8, 8, 1)
    assert len(dataset) == 15
    assert [len(batch) for batch in dataset] == [100] * 14 + [37]


def test_shuffles_anew_every_epoch_and_repeats_by_seed():
    x = np.arange(500, dtype="float32")[:, None]
    dataset = load(x, batch_size=64, seed=1)
    first, second = all_of(dataset), all_of(dataset)
    assert (first != second).any()
    assert (first != x).any()
    np.testing.assert_array_equal(np.sort(first, 0), x)
    np.testing.assert_array_equal(np.sort(second, 0), x)
    again = load(x, batch_size=64, seed=1)
    np.testing.assert_array_equal(all_of(again), first)
    np.testing.assert_array_equal(all_of(again), second)
    np.testing.assert_array_equal(all_of(load(x, shuffle=False)), x)
    np.testing.assert_array_equal(all_of(load("digits", "test")), arrays("digits", "test"))


def test_labels_stay_with_their_samples():
    x, y = arrays("digits", labels=True)
    of = {image.tobytes(): label for image, label in zip(x, y, strict=True)}
    for batch, labels in load("digits", labels=True, seed=0):
        assert all(of[b.tobytes()] == n for b, n in zip(batch.numpy(), labels.numpy(), strict=True))


def test_streamed_is_the_same_data_as_cached(images):
    cached = arrays(images)
    streamed = load(images, batch_size=2, shuffle=False, memory_limit=0)
    assert len(streamed) == 3
    assert streamed.element_spec.shape == (None, 6, 9, 1)
    np.testing.assert_array_equal(all_of(streamed), cached)
    shuffled = all_of(load(images, batch_size=2, seed=0, memory_limit=0))
    assert sorted(shuffled[:, 0, 0, 0]) == [0, 10, 20, 30, 40]


def test_validation_split_is_disjoint_complete_and_repeatable():
    x = np.arange(100, dtype="float32")[:, None]
    training = arrays(x, validation_split=0.2)
    validation = arrays(x, "validation", validation_split=0.2)
    assert (len(training), len(validation)) == (80, 20)
    assert sorted([*training[:, 0], *validation[:, 0]]) == list(range(100))
    np.testing.assert_array_equal(arrays(x, "validation", validation_split=0.2), validation)
    assert len(arrays("digits", "test", validation_split=0.2)) == 360


def test_limit(images):
    assert len(arrays("digits", limit=10)) == 10
    assert len(arrays("digits", limit=10**6)) == 1437
    spread = arrays(images, limit=3)[:, 0, 0, 0]
    assert list(spread) == [0, 20, 40]


def test_files(tmp_path):
    x = np.random.default_rng(0).random((20, 5)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "one.npz", anything=x)
    np.savez(tmp_path / "keras.npz", x_train=x, x_test=x[:3], y_train=np.arange(20))
    np.testing.assert_array_equal(arrays(tmp_path / "x.npy"), x)
    np.testing.assert_array_equal(arrays(str(tmp_path / "one.npz")), x)
    assert splits(tmp_path / "keras.npz") == ("train", "test")
    assert len(arrays(tmp_path / "keras.npz", "test")) == 3
    assert arrays(tmp_path / "keras.npz", labels=True)[1][-1] == 19
    with pytest.raises(ValueError, match=r"`labels` must be False"):
        arrays(tmp_path / "keras.npz", "test", labels=True)


def test_csv(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("a,label,b\n1,cat,2\n3,dog,4.5\n")
    x, y = arrays(path, labels=True)
    np.testing.assert_array_equal(x, [[1, 2], [3, 4.5]])
    assert x.dtype == np.float32
    assert list(y) == ["cat", "dog"]
    path.write_text("1,2\n3,4\n")
    np.testing.assert_array_equal(arrays(path), [[1, 2], [3, 4]])
    for text, message in [
        ("a,b\n1,x\n", r"numbers only. Received: 'x' in 'b'"),
        ("a,b\n1,2\n3\n", r"2 columns in each row. Received: 1 in row 3"),
        ("", r"at least one row"),
        ("a,b\n", r"at least one row"),
    ]:
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            arrays(path)


def test_folder_with_classes_mixed_sizes_and_broken_files(tmp_path):
    for label, colour in (("cat", (200, 10, 10)), ("dog", (10, 10, 200))):
        (tmp_path / label).mkdir()
        for i in range(3):
            picture = np.full((10 + i, 12, 3), colour, "uint8")
            Image.fromarray(picture).save(tmp_path / label / f"{i}.jpg")
    (tmp_path / "dog" / "broken.jpg").write_bytes(b"no image")
    whole = (tmp_path / "dog" / "0.jpg").read_bytes()
    (tmp_path / "dog" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "notes.txt").write_text("not an image, passed over")
    with pytest.warns(UserWarning, match=r"not readable images: .*(broken|cut)\.jpg"):
        x, y = arrays(tmp_path, labels=True, image_size=(8, 6))
    assert x.shape == (6, 8, 6, 3)
    assert list(y) == [0, 0, 0, 1, 1, 1]
    assert x[y == 0][..., 0].mean() > 150 > 50 > x[y == 1][..., 0].mean()
    with pytest.warns(UserWarning, match=r"3 different sizes and are resized to 64x64"):
        assert arrays(tmp_path).shape == (6, 64, 64, 3)
    with pytest.warns(UserWarning, match=r"not readable"):
        assert len(all_of(load(tmp_path, image_size=8, memory_limit=0))) == 6


def test_folder_with_train_and_test(images):
    for split in ("train", "test"):
        (images / "data" / split).mkdir(parents=True)
        for i in range(2):
            (images / "data" / split / f"{i}.png").write_bytes((images / f"{i}.png").read_bytes())
    assert splits(images / "data") == ("train", "test")
    assert len(arrays(images / "data", "test")) == 2


def test_rotated_photos_are_upright(tmp_path):
    picture = Image.fromarray(np.zeros((4, 10, 3), "uint8"))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert arrays(tmp_path).shape == (1, 10, 4, 3)


@pytest.mark.parametrize(
    ("source", "options", "error", "message"),
    [
        ("digitz", {}, ValueError, r"did you mean .*'digits'.*Received: 'digitz'"),
        ("mnits", {}, ValueError, r"did you mean .*'mnist'"),
        ("no/such/folder", {}, FileNotFoundError, r"existing file or folder"),
        ("none.npz", {}, FileNotFoundError, r"existing file or folder"),
        ("digits", {"split": "valid"}, ValueError, r"one of 'train', 'test'"),
        ("digits", {"batch_size": 0}, ValueError, r"`batch_size`"),
        ("digits", {"limit": 0}, ValueError, r"`limit`"),
        ("digits", {"validation_split": 1.0}, ValueError, r"`validation_split`"),
        ("digits", {"image_size": (8, 0)}, ValueError, r"`image_size`"),
        (np.zeros((0, 4)), {}, ValueError, r"at least one sample"),
        (np.zeros(4), {}, ValueError, r"array \(samples, \.\.\.\)"),
        ({"a": 1}, {}, ValueError, r"Received: dict"),
    ],
)
def test_bad_sources(source, options, error, message):
    with pytest.raises(error, match=message):
        load(source, **options)


def test_bad_files(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"at least one readable image"):
        load(tmp_path / "empty")
    np.savez(tmp_path / "whole.npz", x=np.zeros((50, 9)))
    np.save(tmp_path / "whole.npy", np.zeros((50, 9)))
    for name in ("whole.npz", "whole.npy"):
        content = (tmp_path / name).read_bytes()
        for broken in (b"", content[:60], content[: len(content) // 2], b"x" + content[1:]):
            path = tmp_path / f"broken{pathlib.Path(name).suffix}"
            path.write_bytes(broken)
            with pytest.raises(ValueError, match=r"`source` must be.*Received"):
                load(path)
    np.save(tmp_path / "objects.npy", np.array([{}, {}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"Received"):
        load(tmp_path / "objects.npy")
    (tmp_path / "table.xlsx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"must be a \.npy, \.npz or \.csv"):
        load(tmp_path / "table.xlsx")


def test_a_data_set_that_cannot_be_had_fails_fast_and_says_where_it_looked(tmp_path):
    """Without a network: not a minute of silence, but one sentence."""
    script = "import aezoo; aezoo.data.load('mnist', data_dir='data')"
    dead = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    done = run_python("-c", script, cwd=tmp_path, env=dead, timeout=60)
    assert "Downloading mnist" in done.stdout
    assert "TFDS_DATA_DIR" in done.stderr.splitlines()[-1]
    assert not any((tmp_path / "data").rglob("*.tfrecord*"))


def test_prepared_tfds_data(tmp_path):
    """A data set prepared here, so that it needs neither network nor MNIST."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    rng = np.random.default_rng(0)
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(6, 5, 1)),
            "label": tfds.features.ClassLabel(num_classes=3),
        }
    )
    pixels, classes = rng.integers(0, 255, (40, 6, 5, 1), "uint8"), np.arange(40) % 3
    parts = {"train": slice(0, 30), "test": slice(30, 40)}
    examples = {
        name: tf.data.Dataset.from_tensor_slices({"image": pixels[rows], "label": classes[rows]})
        for name, rows in parts.items()
    }
    tfds.dataset_builders.store_as_tfds_dataset(
        name="tiny",
        version="1.0.0",
        features=features,
        split_datasets=examples,
        data_dir=str(tmp_path),
        description="tiny",
    )
    options = {"data_dir": str(tmp_path)}
    assert set(splits("tiny", **options)) == {"train", "test"}
    cached = arrays("tiny", **options)
    assert (cached.shape, cached.dtype) == ((30, 6, 5, 1), np.uint8)
    streamed = load("tiny", shuffle=False, batch_size=8, memory_limit=0, **options)
    assert len(streamed) == 4
    np.testing.assert_array_equal(all_of(streamed), cached)
    assert len(arrays("tiny", "validation", validation_split=0.1, **options)) == 3
    assert arrays("tiny", image_size=4, limit=7, **options).shape == (7, 4, 4, 1)
    assert sorted(arrays("tiny", "test", labels=True, **options)[1]) == sorted(
        i % 3 for i in range(30, 40)
    )


@pytest.mark.skipif(tfds_folder("mnist") is None, reason="MNIST is not prepared on this machine")
def test_mnist():
    x = arrays("mnist", "test", data_dir=tfds_folder("mnist"))
    assert (x.shape, x.dtype) == ((10000, 28, 28, 1), np.uint8)


def test_memory_of_a_streamed_source_is_flat(tmp_path):
    """Twice the images must not need twice the memory."""
    rng = np.random.default_rng(0)
    for i in range(400):
        Image.fromarray(rng.integers(0, 255, (128, 128, 3), "uint8")).save(tmp_path / f"{i}.bmp")
    script = """if True:
        import resource, sys, aezoo
        for limit in (100, 400):
            for batch in aezoo.data.load(sys.argv[1], memory_limit=0, batch_size=10,
                                         shuffle=False, limit=limit):
                pass
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # the most until now
    """
    done = run_python("-c", script, tmp_path)
    assert done.returncode == 0, done.stderr
    small, large = map(int, done.stdout.split())
    assert large < small + 40_000  # KiB; the images themselves are 20 MB a hundred


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tfds_images_are_resized_within_the_range_of_their_dtype(dtype):
    import tensorflow as tf

    from aezoo.data._tfds import TFDSSource

    x = (np.arange(2 * 8 * 8).reshape(2, 8, 8, 1) / 127).astype("float32")
    if dtype != "float32":
        x = (x * np.iinfo(dtype).max).astype(dtype)
    image = SimpleNamespace(shape=(8, 8, 1), np_dtype=np.dtype(dtype))
    info = SimpleNamespace(
        splits={"train": SimpleNamespace(num_examples=2)},
        supervised_keys=None,
        features={"image": image},
    )
    builder = SimpleNamespace(
        name="fake",
        info=info,
        as_dataset=lambda **_: tf.data.Dataset.from_tensor_slices({"image": x}),
    )
    resized, _ = TFDSSource(builder, (4, 4)).arrays()
    assert resized.dtype == dtype
    means = x.reshape(2, 4, 2, 4, 2, 1).mean((2, 4))
    largest = x.max()
    np.testing.assert_allclose(resized / largest, means / largest, atol=0.05)
