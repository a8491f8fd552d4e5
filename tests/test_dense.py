"""What `dense_ae` alone promises."""

import keras
import numpy as np
import pytest
from sklearn.decomposition import PCA

import aezoo


def test_is_exactly_the_plain_net_and_walks_the_same_losses(digits):
    x = np.random.default_rng(0).random((256, 784)).astype("float32")
    plain = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(128, "sigmoid"),
            keras.layers.Dense(784, "sigmoid"),
        ]
    )
    plain.compile(keras.optimizers.Adam(0.001), "mse")
    model = aezoo.dense_ae(
        (784,), 128, hidden_units=(), activation="sigmoid", latent_activation="sigmoid"
    )
    assert model.count_params() == plain.count_params() == 201_616
    model.set_weights(plain.get_weights())
    options = {"batch_size": 32, "epochs": 4, "shuffle": False, "verbose": 0}
    expected = plain.fit(x, x, **options).history["loss"]
    np.testing.assert_allclose(model.fit(x, **options).history["loss"], expected, rtol=1e-5)


def test_beats_pca_of_the_same_code_size(digits, test_digits):
    model = aezoo.dense_ae((8, 8, 1), 8, hidden_units=(256, 64), seed=0)
    model.fit(digits, epochs=60, batch_size=64, verbose=0)
    pca = PCA(8).fit(digits.reshape(-1, 64) / 255.0)
    flat = test_digits.reshape(-1, 64) / 255.0
    baseline = np.square(flat - pca.inverse_transform(pca.transform(flat))).mean()
    assert model.reconstruction_error(test_digits).mean() < 0.9 * baseline


def test_a_linear_one_learns_standardised_columns():
    from sklearn.datasets import load_wine

    x = load_wine().data
    x = ((x - x.mean(0)) / x.std(0)).astype("float32")
    model = aezoo.dense_ae(
        (13,), 5, hidden_units=(32,), output_activation=None, seed=0, learning_rate=0.01
    )
    model.fit(x, epochs=60, verbose=0)
    assert model.reconstruction_error(x).mean() < 0.35


def test_hidden_units_are_mirrored():
    model = aezoo.dense_ae((20,), 3, hidden_units=(11, 7))
    units = [layer.units for part in (model.encoder, model.decoder) for layer in part.layers
             if hasattr(layer, "units")]  # fmt: skip
    assert units == [11, 7, 3, 7, 11, 20]


@pytest.mark.parametrize("hidden_units", [(0,), (-1, 3), ("a",), "12", (1.5,)])
def test_wrong_hidden_units(hidden_units):
    with pytest.raises(ValueError, match=r"`hidden_units`.*Received"):
        aezoo.dense_ae((8,), 2, hidden_units=hidden_units)
