"""What `contractive_ae` alone promises."""

import numpy as np
import pytest
import tensorflow as tf

import aezoo


def jacobian_squares(model, x):
    """The squared Frobenius norm of each sample's Jacobian, by autodiff."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        codes = model.encoder(x)
    jacobian = tape.batch_jacobian(codes, x)
    return np.square(jacobian.numpy()).sum((1, 2))


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "linear"])
def test_one_layer_has_the_exact_norm(activation):
    x = np.random.default_rng(0).random((16, 12)).astype("float32")
    model = aezoo.contractive_ae((12,), 5, penalty_weight=0.7, activation=activation, seed=0)
    values = model.evaluate(x, verbose=0, return_dict=True, batch_size=16)
    expected = jacobian_squares(model, x).mean()
    assert values["contraction"] == pytest.approx(expected, rel=1e-4)
    assert values["loss"] == pytest.approx(values["mse"] + 0.7 * expected / 12, rel=1e-4)


def test_deep_encoders_have_its_estimate():
    x = np.random.default_rng(0).random((1, 12)).astype("float32").repeat(20_000, 0)
    model = aezoo.contractive_ae((12,), 5, hidden_units=(9,), activation="tanh", seed=0)
    found = model.evaluate(x, verbose=0, return_dict=True, batch_size=20_000)["contraction"]
    assert found == pytest.approx(jacobian_squares(model, x[:1])[0], rel=0.03)
    again = model.evaluate(x, verbose=0, return_dict=True, batch_size=20_000)["contraction"]
    assert again == found


@pytest.mark.parametrize("hidden_units", [(), pytest.param((40,), marks=pytest.mark.slow)])
def test_the_penalty_contracts(hidden_units, digits):
    norms = []
    for weight in (0.0, 1.0):
        model = aezoo.contractive_ae(
            (8, 8, 1),
            16,
            penalty_weight=weight,
            hidden_units=hidden_units,
            learning_rate=0.01,
            seed=0,
        )
        history = model.fit(digits, epochs=6, verbose=0).history
        norms.append(history["contraction"][-1])
    assert norms[1] < 0.5 * norms[0]


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"`activation` must be one of.*Received: 'gelu'"):
        aezoo.contractive_ae((8,), 4, activation="gelu")
    with pytest.raises(ValueError, match=r"`penalty_weight`.*Received: -1"):
        aezoo.contractive_ae((8,), 4, penalty_weight=-1)
