"""`impute` fills what is missing, and leaves what is known."""

import numpy as np
import pytest

import aezoo
from tests.conftest import small


@pytest.fixture(scope="module")
def incomplete():
    """Test digits in [0, 1], a third of whose pixels are missing."""
    x = aezoo.data.arrays("digits", "test")
    return x / np.float32(255), np.random.default_rng(0).random(x.shape) < 0.33


def imputation_error(model, x, missing, **options):
    broken = np.where(missing, np.nan, x)
    filled = aezoo.impute(model, broken, missing, **options)
    np.testing.assert_array_equal(filled[~missing], x[~missing])
    return np.square(filled - x)[missing].mean()


def test_a_nonlinear_model_fills_in_better_than_pca_and_the_mean(digits, incomplete):
    x, missing = incomplete
    linear = []
    for components in (8, 12, 16):
        model = small("pca_ae", latent_dim=components)
        model.fit(digits, verbose=0)
        linear += [imputation_error(model, x, missing, iterations=n) for n in (3, 5, 10)]
    model = aezoo.dense_ae((8, 8, 1), 16, hidden_units=(256, 128), activation="relu", seed=0)
    model.fit(aezoo.data.load(digits, batch_size=32, seed=0), epochs=20, verbose=0)
    error = imputation_error(model, x, missing)
    mean = np.square((digits / 255).mean(0) - x)[missing].mean()
    assert error < 0.5 * mean
    assert error < min(linear)


def test_impute_takes_pixels_lists_and_one_mask(digits, incomplete):
    x, missing = incomplete[0][:20], incomplete[1][:20]
    model = small("pca_ae", latent_dim=12)
    model.fit(digits, verbose=0)
    expected = aezoo.impute(model, x, missing, tolerance=0)
    pixels = (x * 255).round().astype("uint8")
    filled = aezoo.impute(model, pixels, missing, tolerance=0)
    np.testing.assert_allclose(filled, expected, atol=1e-5)
    np.testing.assert_allclose(aezoo.impute(model, x.tolist(), missing.tolist()), filled, atol=0.02)
    one = aezoo.impute(model, x, missing[0])
    assert (one[:, missing[0]] != x[:, missing[0]]).any()
    np.testing.assert_array_equal(aezoo.impute(model, x, np.zeros_like(missing)), x)
    nothing = aezoo.impute(model, x * np.nan, np.ones_like(missing))
    assert np.isfinite(nothing).all()
    many = aezoo.impute(model, x, missing, iterations=1000, tolerance=0.1)
    np.testing.assert_allclose(many, aezoo.impute(model, x, missing, tolerance=0.1), atol=0.2)


def test_impute_names_what_is_wrong(incomplete):
    model = small("pca_ae")
    x, missing = incomplete[0][:5], incomplete[1][:5]
    for wrong in (missing.astype(int), missing[..., 0], missing[:2]):
        with pytest.raises(ValueError, match=r"`mask` must be a boolean.*Received: "):
            aezoo.impute(model, x, wrong)
    with pytest.raises(ValueError, match="`x` without its missing values must be finite"):
        aezoo.impute(model, np.where(missing, x, np.nan), missing)
    with pytest.raises(ValueError, match="`x` must have the shape"):
        aezoo.impute(model, x[:, :7], missing[:, :7])
    with pytest.raises(ValueError, match="`x` must be an array"):
        aezoo.impute(model, aezoo.data.load("digits"), missing)
    with pytest.raises(ValueError, match="`iterations`"):
        aezoo.impute(model, x, missing, iterations=0)
    with pytest.raises(ValueError, match="`model` must be an Autoencoder"):
        aezoo.impute(model.encoder, x, missing)
