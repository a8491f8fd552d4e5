"""What the vector-quantised family promises."""

import numpy as np
import pytest

import aezoo
from aezoo.layers.quantizer import VectorQuantizer
from aezoo.metrics import CodebookUse


def vectors(n=200, size=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, size)).astype("float32")


def test_nearest_entries_are_those_of_brute_force():
    layer, x = VectorQuantizer(16, seed=0), vectors()
    layer(x, training=True)
    codebook = np.asarray(layer.codebook)
    distances = ((x[:, None] - codebook) ** 2).sum(-1)
    np.testing.assert_array_equal(layer.indices(x), distances.argmin(1))
    np.testing.assert_array_equal(layer(x), codebook[distances.argmin(1)])


def test_moving_averages_are_those_of_their_formula():
    layer, x = VectorQuantizer(4, decay=0.5, seed=0), vectors()
    for _ in range(3):
        layer(x, training=True)
    use, sums = np.asarray(layer.use), np.asarray(layer.sums)
    chosen = np.asarray(layer.indices(x))
    layer(x, training=True)
    for k in range(4):
        of_k = x[chosen == k]
        expected_use = 0.5 * use[k] + 0.5 * 4 * len(of_k) / len(x)
        expected = (0.5 * sums[k] + 0.5 * 4 * of_k.sum(0) / len(x)) / expected_use
        np.testing.assert_allclose(layer.use[k], expected_use, rtol=1e-5)
        np.testing.assert_allclose(layer.codebook[k], expected, rtol=1e-4)


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_entries_out_of_use_begin_again_at_the_data(update):
    layer, x = VectorQuantizer(32, update=update, decay=0.9, seed=0), vectors() + 50
    layer(x, training=True)
    assert len(np.unique(layer.indices(x))) > 10
    moved = x - 100
    for _ in range(60):
        layer(moved, training=True)
    assert len(np.unique(layer.indices(moved))) > 10


def test_gradient_passes_straight_and_commits():
    import tensorflow as tf

    layer, x = VectorQuantizer(8, commitment_weight=0.5, seed=0), tf.constant(vectors())
    layer(x, training=True)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        entries = layer.lookup(layer.indices(x))
        out = tf.reduce_sum(3 * layer(x, training=True))
        loss = layer.losses[0]
    np.testing.assert_allclose(tape.gradient(out, x), 3 * np.ones(x.shape))
    expected = 0.5 * 2 * (x - entries) / x.numpy().size
    np.testing.assert_allclose(tape.gradient(loss, x), expected, rtol=1e-4)


def test_perplexity():
    metric = CodebookUse(10)
    metric.update_state(np.array([[0, 0, 1, 1], [2, 2, 3, 3]]))
    np.testing.assert_allclose(metric.result()["perplexity"], 4, rtol=1e-5)
    assert metric.result()["used_codes"] == 4


@pytest.mark.parametrize(
    ("architecture", "update"),
    [
        ("conv", "ema"),
        pytest.param("dense", "gradient", marks=pytest.mark.slow),
        pytest.param("conv", "gradient", marks=pytest.mark.slow),
        pytest.param("dense", "ema", marks=pytest.mark.slow),
    ],
)
def test_tokens_and_bytes_hold_the_reconstruction(digits, test_digits, architecture, update):
    model = aezoo.vq_vae(
        (8, 8, 1),
        embedding_dim=8,
        codebook_size=50,
        architecture=architecture,
        positions=3,
        update=update,
        decay=0.95,
        seed=0,
    )
    data = aezoo.data.load("digits", seed=0)
    history = model.fit(data, epochs=25, validation_data=data, verbose=0).history
    assert history["used_codes"][-1] > 40
    assert history["val_perplexity"][-1] > 15
    x = test_digits[:33]
    tokens, positions = model.tokens(x), 4 if architecture == "conv" else 3
    assert tokens.shape == ((33, 2, 2) if architecture == "conv" else (33, 3))
    np.testing.assert_allclose(model.decode_tokens(tokens), model.reconstruct(x), atol=1e-5)
    assert model.bits_per_sample == positions * 6
    stored = model.compress(x)
    assert len(stored) == 1 + -(-33 * positions * 6 // 8)
    np.testing.assert_allclose(model.decompress(stored), model.reconstruct(x), atol=1e-5)
    for wrong in (tokens + 50, tokens - 50, tokens / 2, tokens[:, :1]):
        with pytest.raises(ValueError, match=r"`tokens` must be integers of 0 to 49.*Received"):
            model.decode_tokens(wrong)


def test_wrong_arguments():
    for options in ({"update": "adam"}, {"decay": 2}, {"codebook_size": 0}, {"positions": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(options))}`.*Received"):
            aezoo.vq_vae((8, 8, 1), architecture="dense", **options)
