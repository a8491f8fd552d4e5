"""What `denoising_ae` and the corruption layers promise."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import aezoo
from aezoo.layers import (
    AffineCorruption,
    GaussianCorruption,
    MaskingCorruption,
    SaltAndPepperCorruption,
)

LAYERS = {
    "gaussian": GaussianCorruption,
    "masking": MaskingCorruption,
    "salt_and_pepper": SaltAndPepperCorruption,
    "affine": AffineCorruption,
}


def dense(**options):
    """A denoiser of three layers, which is traced in less time than a convolutional one."""
    return aezoo.denoising_ae(
        (8, 8, 1), 8, architecture="dense", hidden_units=(64,), seed=0, **options
    )


def call(layer, x, training=True):
    return keras.ops.convert_to_numpy(layer(x, training=training))


@pytest.mark.parametrize("kind", LAYERS)
@settings(max_examples=15, deadline=None)
@given(level=st.floats(0, 1), seed=st.integers(0, 2**31 - 1))
def test_corruption_repeats_by_seed_and_is_silent_outside_training(kind, level, seed):
    x = np.random.default_rng(0).random((7, 5, 6, 3)).astype("float32")
    layer = LAYERS[kind](level, seed=seed)
    noisy = call(layer, x)
    assert noisy.shape == x.shape
    assert noisy.min() >= 0
    assert noisy.max() <= 1
    np.testing.assert_array_equal(call(layer, x, training=False), x)
    again = LAYERS[kind].from_config(layer.get_config())
    np.testing.assert_array_equal(call(again, x), noisy)
    if 0.2 < level < 0.9:
        assert (call(layer, x) != noisy).any()  # the next draw differs
    if level == 0:
        np.testing.assert_allclose(noisy, x, atol=1e-7)


def test_affine_maps_move_images_by_what_they_draw():
    image = np.zeros((400, 21, 31, 1), "float32")
    image[:, 10, 15] = 1  # the centre moves by the shift alone
    moved = call(AffineCorruption(0.1, seed=0), image)
    totals = moved.sum((1, 2, 3))
    seen = totals > 0.3
    rows, columns = (
        (moved * np.arange(n).reshape(s)).sum((1, 2, 3))[seen] / totals[seen]
        for n, s in ((21, (-1, 1, 1)), (31, (1, -1, 1)))
    )
    assert abs(rows.mean() - 10) < 0.2
    assert abs(columns.mean() - 15) < 0.2
    assert 0.3 < rows.std() < 0.8  # 0.1 * 21 / 4
    assert 0.5 < columns.std() < 1.1  # 0.1 * 31 / 4
    plain = np.random.default_rng(0).random((3, 8, 9, 2)).astype("float32")
    np.testing.assert_allclose(call(AffineCorruption(0.0), plain), plain, atol=1e-6)
    with pytest.raises(ValueError, match=r"takes images.*Received: \(9,\)"):
        AffineCorruption(0.1)(np.zeros((2, 9)))


def test_corruption_has_the_level_it_says():
    x = np.full((400, 400), 0.5, "float32")
    assert call(GaussianCorruption(0.1, seed=0), x).std() == pytest.approx(0.1, rel=0.02)
    assert call(GaussianCorruption(3.0, clip=False, seed=0), x).std() == pytest.approx(3, rel=0.02)
    assert (call(MaskingCorruption(0.3, seed=0), x) == 0).mean() == pytest.approx(0.3, abs=0.01)
    salted = call(SaltAndPepperCorruption(0.4, seed=0), x)
    assert (salted == 0).mean() == pytest.approx(0.2, abs=0.01)
    assert (salted == 1).mean() == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("layer", [MaskingCorruption, SaltAndPepperCorruption, GaussianCorruption])
@pytest.mark.parametrize("level", [-0.1, "a", None, True])
def test_wrong_levels(layer, level):
    with pytest.raises(ValueError, match=r"`level`.*Received"):
        layer(level)


def test_shares_above_one_are_refused():
    with pytest.raises(ValueError, match=r"between 0 and 1. Received: 1.5"):
        aezoo.denoising_ae((8, 8, 1), corruption="masking", level=1.5)


ALL = [*LAYERS, keras.layers.SpatialDropout2D(0.5)]
TRAINED = [("dense", "salt_and_pepper"), ("dense", ALL[-1])]  # in the fast tests
CASES = [
    pytest.param(a, c, marks=[] if (a, c) in TRAINED else pytest.mark.slow)
    for a in ("conv", "dense")
    for c in ALL
]


@pytest.mark.parametrize(("architecture", "corruption"), CASES)
def test_denoises_better_than_leaving_it(architecture, corruption, digits, test_digits):
    model = aezoo.denoising_ae(
        (8, 8, 1), 24, architecture=architecture, corruption=corruption, level=0.4, seed=0
    )
    model.fit(digits, epochs=12, batch_size=64, verbose=0)
    clean = test_digits / 255.0
    noisy = model.corrupt(test_digits, seed=9)
    denoised = model.reconstruct(noisy)
    assert np.square(denoised - clean).mean() < 0.8 * np.square(noisy - clean).mean()


def test_the_target_is_the_clean_input(digits):
    model = dense(corruption="masking", level=1.0)
    model.fit(digits, epochs=10, verbose=0)
    mean = (digits / 255.0).mean(0)  # all the encoder ever saw is black
    assert np.abs(model.reconstruct(np.zeros((1, 8, 8, 1), "uint8"))[0] - mean).mean() < 0.05


def test_val_loss_is_the_error_of_denoising_the_same_way_each_time(digits, test_digits):
    model = dense(level=0.7, learning_rate=0.003)
    history = model.fit(digits, validation_data=test_digits, epochs=12, verbose=0).history
    dataset = tf.data.Dataset.from_tensor_slices(test_digits).batch(100)
    noisy = model.corrupt(test_digits, seed=0)
    expected = np.square(model.reconstruct(noisy) - test_digits / 255.0).mean()
    assert history["val_loss"][-1] == pytest.approx(expected, rel=1e-4)
    assert model.evaluate(test_digits, verbose=0)[0] == pytest.approx(expected, rel=1e-4)
    by_dataset = model.evaluate(dataset, verbose=0)[0]
    assert by_dataset == model.evaluate(dataset, verbose=0)[0]
    assert by_dataset == pytest.approx(expected, rel=0.1)
    assert expected > 1.2 * model.reconstruction_error(test_digits).mean()


def test_validation_leaves_the_training_noise_alone(digits, test_digits):
    trained = []
    for options in (
        {},
        {"validation_data": test_digits},
        {"validation_data": aezoo.data.load("digits", "test")},
    ):
        model = dense()
        model.fit(digits[:256], epochs=2, shuffle=False, verbose=0, **options)
        trained.append(model.get_weights())
    for weights in trained[1:]:
        assert all((a == b).all() for a, b in zip(trained[0], weights, strict=True))


def test_validation_split_of_arrays_is_corrupted(digits):
    model = dense(level=5.0)
    x = digits[:200]
    history = model.fit(x, validation_split=0.25, epochs=1, verbose=0, shuffle=False).history
    noisy = model.corrupt(x[150:], seed=0)
    expected = np.square(model.reconstruct(noisy) - x[150:] / 255.0).mean()
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-4)


def test_corrupt_takes_arrays_and_datasets(digits):
    model = aezoo.denoising_ae((8, 8, 1), 8, seed=0)
    x = digits[:100]
    np.testing.assert_array_equal(model.corrupt(x, seed=3), model.corrupt(x, seed=3))
    assert (model.corrupt(x) != model.corrupt(x)).any()
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(256)
    np.testing.assert_array_equal(model.corrupt(dataset, seed=3), model.corrupt(x, seed=3))
    with pytest.raises(ValueError, match="must have a corruption layer"):
        aezoo.dense_ae((8, 8, 1)).corrupt(x)


def test_pairs_of_noisy_and_clean_train_a_model_without_corruption(digits, test_digits):
    model = aezoo.denoising_ae((8, 8, 1), 24, corruption=None, seed=0)
    assert model.corruption is None
    rng = np.random.default_rng(0)

    def blurred(x):
        return np.clip(x / 255.0 * 0.3 + rng.normal(0, 0.05, x.shape), 0, 1).astype("float32")

    noisy = blurred(digits)
    pairs = tf.data.Dataset.from_tensor_slices((noisy, digits)).shuffle(2000, 0).batch(64)
    model.fit(pairs, epochs=15, verbose=0)
    clean = test_digits / 255.0
    error = np.square(model.reconstruct(blurred(test_digits)) - clean).mean()
    assert error < 0.3 * np.square(blurred(test_digits) - clean).mean()


def test_architecture_follows_the_shape():
    names = {layer.name for layer in aezoo.denoising_ae((8, 8, 1)).encoder.layers}
    assert "down_0" in names
    names = {layer.name for layer in aezoo.denoising_ae((64,), clip=False).encoder.layers}
    assert "hidden_0" in names
    with pytest.raises(ValueError, match="`architecture` must be one of 'dense', 'conv'"):
        aezoo.denoising_ae((8, 8, 1), architecture="cnn")
    with pytest.raises(ValueError, match=r"`corruption` must be one of.*did you mean 'masking'"):
        aezoo.denoising_ae((8, 8, 1), corruption="mask")
