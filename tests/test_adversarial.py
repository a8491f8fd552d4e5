"""What the adversarial family promises."""

import numpy as np

import aezoo
from aezoo.layers._draws import EvaluationDraws
from aezoo.models.adversarial import AdversarialPrior


def test_each_side_has_the_gradient_of_its_own_loss():
    import tensorflow as tf

    code = tf.constant(np.random.default_rng(0).normal(size=(6, 3)).astype("float32"))
    layer = AdversarialPrior((8,), 0.25, [1, 2], 3)
    layer(code)
    kernel = layer.discriminator[0].kernel.value
    draws = EvaluationDraws().normal(6, 3)
    layer.evaluation.begin()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(code)
        passed = layer(code)
        (loss,) = layer.losses
        of_codes, of_draws = layer.score(code), layer.score(draws)
        discriminating = tf.reduce_mean(tf.nn.softplus(of_codes) + tf.nn.softplus(-of_draws))
        fooling = 0.25 * tf.reduce_mean(tf.nn.softplus(-of_codes))
    np.testing.assert_array_equal(passed, code)
    np.testing.assert_allclose(loss, discriminating, rtol=1e-5)
    for what, expected in ((kernel, discriminating), (code, fooling)):
        np.testing.assert_allclose(
            tape.gradient(loss, what), tape.gradient(expected, what), rtol=1e-4, atol=1e-7
        )


def test_codes_follow_the_prior(digits):
    moments = []
    for weight in (0.0, 0.01):
        model = aezoo.adversarial_ae(
            (8, 8, 1), 2, adversarial_weight=weight, hidden_units=(64,), learning_rate=0.002, seed=0
        )
        history = model.fit(digits, epochs=40, batch_size=64, verbose=0).history
        codes = model.encode(digits)
        moments.append(np.abs(np.cov(codes.T) - np.eye(2)).max() + np.abs(codes.mean(0)).max())
    assert moments[1] < 0.5
    assert moments[0] > 2
    assert history["discriminator_accuracy"][-1] < 0.75
    assert model.generate(3, seed=0).shape == (3, 8, 8, 1)
