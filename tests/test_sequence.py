"""What the sequence family promises."""

import keras
import numpy as np
import pytest

import aezoo

ARCHITECTURES = ["recurrent", "conv", "attention"]


def waves(n, seed=0):
    """Sines of many lengths and phases, padded with -9 to 24 steps."""
    rng = np.random.default_rng(seed)
    series = [np.sin(rng.uniform(0, 6) + np.arange(rng.integers(8, 25)) / 2) for _ in range(n)]
    padded = keras.utils.pad_sequences(series, 24, dtype="float32", padding="post", value=-9)
    return padded[..., None], np.array([len(s) for s in series])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padded_steps_count_nowhere(architecture):
    x, lengths = waves(40)
    model = aezoo.sequence_ae(
        (24, 1), 4, architecture=architecture, units=16, mask_value=-9, seed=0
    )
    there = np.arange(24) < lengths[:, None]
    squares = ((x - model.reconstruct(x)) ** 2)[..., 0]
    expected = (squares * there).sum(1) / there.sum(1)
    np.testing.assert_allclose(model.reconstruction_error(x), expected, rtol=1e-4)
    found = model.evaluate(x, verbose=0, batch_size=40, return_dict=True)
    np.testing.assert_allclose(found["loss"], squares[there].mean(), rtol=1e-4)
    np.testing.assert_allclose(found["mse"], squares[there].mean(), rtol=1e-4)
    weighted = model.evaluate(
        x, x, sample_weight=np.full(40, 2.0, "float32"), verbose=0, batch_size=40
    )
    np.testing.assert_allclose(weighted[0], 2 * found["loss"], rtol=1e-4)


@pytest.mark.parametrize("architecture", ["recurrent", "attention"])
def test_the_code_does_not_depend_on_the_padding(architecture):
    x, lengths = waves(10)
    model = aezoo.sequence_ae(
        (24, 1), 4, architecture=architecture, units=16, mask_value=-9, seed=0
    )
    short = aezoo.sequence_ae(
        (16, 1), 4, architecture=architecture, units=16, mask_value=-9, seed=0
    )
    fits = lengths <= 16
    np.testing.assert_allclose(model.encode(x)[fits], short.encode(x[fits, :16]), atol=1e-5)


@pytest.mark.parametrize(
    "architecture",
    ["conv", *(pytest.param(a, marks=pytest.mark.slow) for a in ("recurrent", "attention"))],
)
def test_learns_series_and_finds_strange_ones(architecture, tmp_path):
    x, _ = waves(600)
    test, _ = waves(100, 1)
    model = aezoo.sequence_ae(
        (24, 1), 4, architecture=architecture, units=32, mask_value=-9, seed=0
    )
    model.fit(x, epochs=30, verbose=0)
    normal = model.reconstruction_error(test)
    assert normal.mean() < 0.3 * np.var(test[test != -9])
    rng = np.random.default_rng(2)
    noise = np.where(test == -9, test, rng.normal(size=test.shape).astype("float32"))
    assert np.median(model.reconstruction_error(noise)) > 4 * np.median(normal)
    model.save(tmp_path / "m.keras")
    again = aezoo.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.reconstruction_error(test), normal)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"`architecture` must be one of 'recurrent'"):
        aezoo.sequence_ae((24, 1), architecture="lstm")
    with pytest.raises(ValueError, match=r"`input_shape` must be .*Received: \(24,\)"):
        aezoo.sequence_ae((24,))
    with pytest.raises(ValueError, match=r"`mask_value`.*Received: 'nan'"):
        aezoo.sequence_ae((24, 1), mask_value="nan")
