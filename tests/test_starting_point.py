"""The programs that the project began from."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.starting_point.numpy_loop import gradients, train


def test_gradients_by_hand_are_those_of_autodiff():
    generator = np.random.default_rng(0)
    x = generator.random((6, 9))
    weights = [generator.normal(size=shape) for shape in ((9, 4), (4,), (4, 9), (9,))]
    tensors = [tf.constant(weight) for weight in weights]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        w1, b1, w2, b2 = tensors
        output = tf.sigmoid(tf.sigmoid(x @ w1 + b1) @ w2 + b2)
        loss = tf.reduce_mean((output - x) ** 2)
    expected = tape.gradient(loss, tensors)
    for found, right in zip(gradients(weights, x), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-9)
    wrong = gradients(weights, x, right=False)
    assert not np.allclose(wrong[3] / np.linalg.norm(wrong[3]),
                           expected[3] / np.linalg.norm(expected[3]), rtol=0.01)  # fmt: skip


def test_no_code_of_uniform_noise_leaves_less_than_its_floor():
    """A linear code of k of d numbers leaves (d - k) / d of the variance of fresh noise."""
    from sklearn.decomposition import PCA

    generator = np.random.default_rng(0)
    x, test = generator.random((1000, 40)), generator.random((4000, 40))
    pca = PCA(10).fit(x)
    error = np.square(pca.inverse_transform(pca.transform(test)) - test).mean()
    assert error == pytest.approx(30 / 40 / 12, rel=0.03)


def test_the_right_program_lowers_its_loss():
    x = np.random.default_rng(0).random((50, 12))
    errors = []
    train(x, 30, lambda reconstruct: errors.append(np.square(reconstruct(x) - x).mean()),
          learning_rate=5.0)  # fmt: skip
    assert errors[-1] < errors[0]
