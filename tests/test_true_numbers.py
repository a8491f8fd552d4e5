"""Numbers that a review found wrong: each as another program computes it."""

import keras
import numpy as np
import pytest

import aezoo
from tests.conftest import SMALL


@pytest.mark.parametrize(("samples", "size"), [(31, 32), (20, 32), (40, 60), (5, 4)])
def test_pca_keeps_every_component_of_few_samples(samples, size, digits):
    from sklearn.decomposition import PCA

    x = digits[:samples].astype("float32") / 255
    model = aezoo.pca_ae((8, 8, 1), size)
    model.fit(x, verbose=0)
    flat = x.reshape(samples, -1)
    pca = PCA(min(size, samples)).fit(flat)
    expected = np.square(pca.inverse_transform(pca.transform(flat)) - flat).mean()
    assert model.reconstruction_error(x).mean() == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_sums_of_float64_data_are_float64():
    """Columns of breast cancer data have deviations from .003 to 570."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.decomposition import PCA

    x = load_breast_cancer().data
    assert x.dtype == np.float64
    pca = PCA(30, svd_solver="full").fit(x)
    for parts in ([x], [x[:100], x[100:300], x[300:]]):
        model = aezoo.pca_ae((30,), 30)
        for part in parts:
            model.partial_fit(part)
        kernel = model.encoder.get_layer("code").get_weights()[0]
        kept = np.square(kernel).sum(0) > 0.5
        assert kept.sum() == 30
        variances = np.einsum("ij,jk,ik->i", kernel.T, np.cov(x.T), kernel.T)
        np.testing.assert_allclose(variances[:20], pca.explained_variance_[:20], rtol=1e-3)


def test_float64_sums_go_on_after_saving(tmp_path):
    x = np.random.default_rng(0).normal(size=(300, 6)) * np.logspace(0, -5, 6)
    model = aezoo.pca_ae((6,), 6).partial_fit(x[:200])
    model.save(tmp_path / "m.keras")
    loaded = aezoo.load_model(tmp_path / "m.keras").partial_fit(x[200:])
    assert loaded.sums.rounding < 1e-12
    kernel = loaded.encoder.get_layer("code").get_weights()[0]
    np.testing.assert_allclose(np.square(kernel).sum(0), 1, rtol=1e-5)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
def test_fine_tune_as_the_readme_calls_it_lowers_the_test_error(seed, test_digits):
    keras.utils.set_random_seed(seed)
    model = aezoo.random_feature_ae((8, 8, 1), latent_dim=16, seed=seed)
    model.fit(aezoo.data.load("digits"), verbose=0)
    before = model.reconstruction_error(test_digits).mean()
    model.fine_tune(aezoo.data.load("digits"), epochs=5, verbose=0)
    assert model.reconstruction_error(test_digits).mean() < before


def test_a_learnt_variance_begins_at_that_of_the_data_and_comes_near_the_best(digits):
    import tensorflow as tf

    x = digits.astype("float32") / 255
    options = {"likelihood": "gaussian", "hidden_units": (64,), "seed": 0}
    models = {kind: aezoo.vae((8, 8, 1), 8, variance=kind, **options)
              for kind in ("learnt", "optimal")}  # fmt: skip
    layer = models["learnt"].decoder.get_layer("log_variance")
    models["learnt"].run_eagerly = True
    models["learnt"].fit(x[:4], batch_size=4, verbose=0)  # one step
    began = float(np.exp(np.asarray(layer.log_variance)))
    assert began == pytest.approx(x[:4].var(0).mean(), rel=0.05)
    variance = x.var(0).mean()  # whatever brings the data, and however small its batches are
    brought = (
        aezoo.data.load(x, batch_size=1, shuffle=False),
        tf.data.Dataset.from_tensor_slices(x).batch(1),
        iter(np.split(x, len(x))),
    )
    for data in brought:
        model = aezoo.vae((8, 8, 1), 8, variance="learnt", **options)
        model._begin(data)
        layer = model.decoder.get_layer("log_variance")
        found = float(np.exp(np.asarray(layer.log_variance)))
        assert found == pytest.approx(variance, rel=0.01)
    losses = {}
    for kind, model in models.items():
        model.run_eagerly = False
        history = model.fit(x, epochs=20, batch_size=64, verbose=0).history
        losses[kind] = history["loss"][-1]
    assert losses["learnt"] < losses["optimal"] + 5  # nats; beginning at 1 it was 35 apart


def test_tokens_in_half_precision_are_the_nearest_entries():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        from aezoo.layers.quantizer import VectorQuantizer

        layer = VectorQuantizer(256, seed=0)
        vectors = keras.ops.cast(np.random.default_rng(0).normal(size=(500, 8)), "bfloat16")
        layer(vectors)
        exact = np.asarray(keras.ops.cast(vectors, "float32")).astype("float64")
        codebook = np.asarray(layer.codebook.value).astype("float64")
        distances = np.square(exact[:, None] - codebook).sum(-1)
        found = np.asarray(layer.indices(vectors))
        near = distances[np.arange(500), found] - distances.min(1)
        assert near.max() < 1e-5
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("size", [2, 8])
def test_sparse_ae_learns_with_a_narrow_code(size, digits):
    model = aezoo.sparse_ae((8, 8, 1), size, seed=0)
    model.fit(digits, epochs=15, batch_size=64, verbose=0)
    mean = np.square(digits / 255 - digits.mean(0) / 255).mean()
    assert model.reconstruction_error(digits).mean() < 0.85 * mean


def test_relative_contraction_is_that_of_any_scale_of_the_code(digits):
    model = aezoo.contractive_ae((8, 8, 1), 8, activation="linear", seed=0)
    model.run_eagerly = True
    found = []
    for scale in (1.0, 5.0):
        layer = model.encoder.get_layer("contractive_layers").dense[0]
        layer.set_weights([scale * weight for weight in layer.get_weights()])
        logs = model.evaluate(digits[:100], verbose=0, return_dict=True)
        found.append((logs["contraction"], logs["relative_contraction"]))
    assert found[1][0] == pytest.approx(25 * found[0][0], rel=1e-4)
    assert found[1][1] == pytest.approx(found[0][1], rel=1e-3)
    kernel, codes = layer.get_weights()[0], model.encode(digits[:100])
    assert found[1][1] == pytest.approx(np.square(kernel).sum() / codes.var(0).sum(), rel=1e-3)


def test_sequences_take_sample_weights_without_padding(digits):
    model = aezoo.sequence_ae((8, 8), 4, seed=0, **SMALL.get("sequence_ae", {}))
    model.run_eagerly = True
    x = digits[:8, :, :, 0] / np.float32(255)
    whole = model.evaluate(x, verbose=0)[0]
    light = model.evaluate(x, x, sample_weight=np.full(8, 0.5, "float32"), verbose=0)[0]
    assert light == pytest.approx(whole / 2, rel=1e-5)
