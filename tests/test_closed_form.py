"""What the closed forms promise: exact sums, exact solutions, and nothing that iterates."""

import keras
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

import aezoo
from aezoo.closed_form._linear_algebra import principal_components, ridge
from aezoo.closed_form._moments import Moments, block_products, check_memory
from aezoo.closed_form._stages import Sample
from aezoo.closed_form.elm import random_layer
from aezoo.closed_form.marginalized import ClippedNoise, clipped_map, exact_map
from aezoo.inputs.arrays import to_numpy
from aezoo.layers import GaussianCorruption, MaskingCorruption
from tests.conftest import is_closed_form


def normal(samples, features, seed=0, scale=1.0):
    return np.random.default_rng(seed).normal(size=(samples, features)).astype("float32") * scale


def moments_of(features, targets=None, blocks=3):
    moments = Moments(features.shape[1], 0 if targets is None else targets.shape[1])
    for rows in np.array_split(np.arange(len(features)), blocks):
        moments.add_rows(features[rows], None if targets is None else targets[rows])
    return moments


def flat(digits):
    return digits.reshape(-1, 64) / np.float32(255)


@pytest.mark.parametrize("whiten", [False, True])
def test_pca_is_that_of_scikit_learn(digits, test_digits, whiten):
    model = aezoo.pca_ae((8, 8, 1), 12, whiten=whiten)
    model.fit(digits, verbose=0)
    pca = PCA(12, svd_solver="full", whiten=whiten).fit(flat(digits))
    codes = pca.transform(flat(test_digits))
    expected = pca.inverse_transform(codes).reshape(-1, 8, 8, 1)
    np.testing.assert_allclose(model.reconstruct(test_digits), expected, atol=1e-5)
    np.testing.assert_allclose(np.abs(model.encode(test_digits)), np.abs(codes), atol=2e-3)
    if whiten:
        np.testing.assert_allclose(model.encode(digits).var(0), 1, rtol=2e-3)


def test_pca_error_is_the_sum_of_the_eigenvalues_left_out(digits):
    model = aezoo.pca_ae((8, 8, 1), 12)
    history = model.fit(digits, verbose=0).history
    expected = np.linalg.eigvalsh(np.cov(flat(digits).T, bias=True))[:-12].sum() / 64
    assert history["mse"][0] == pytest.approx(expected, rel=1e-4)  # no more than the sample
    assert model.reconstruction_error(digits).mean() == pytest.approx(expected, rel=1e-4)


def test_no_linear_decoder_beats_pca(digits):
    x = flat(digits)
    best = aezoo.pca_ae((64,), 8).fit(x, verbose=0).history["mse"][0]
    linear = aezoo.dense_ae(
        (64,),
        8,
        hidden_units=(),
        activation=None,
        output_activation=None,
        learning_rate=0.005,
        seed=0,
    )
    linear.fit(x, epochs=60, verbose=0)
    trained = linear.reconstruction_error(x).mean()
    assert best < trained < 1.1 * best
    rest = aezoo.elm_ae((64,), 8, seed=0).fit(x, verbose=0).history["mse"][0]
    assert best < rest


@pytest.mark.parametrize("samples", [40, 400], ids=["dual", "primal"])
def test_ridge_has_no_gradient_left_and_the_best_cross_validation(samples):
    x = normal(samples, 100) * np.geomspace(1, 0.01, 100).astype("f") + 3
    targets = x[:, :20] @ normal(20, 7, 1) + normal(samples, 7, 2, 0.3)
    moments = moments_of(x, targets)
    assert moments.few == (samples < 100)
    kernel, bias = ridge(moments, 0.01)
    strength = 0.01 * np.trace(np.cov(x.T, bias=True)) / 100
    error = targets - x @ kernel - bias
    centred = x - x.mean(0, dtype="float64")
    assert np.abs(centred.T @ error / samples - strength * kernel).max() < 1e-6
    assert np.abs(error.mean(0)).max() < 1e-6
    products, wanted = centred.T @ centred, targets - targets.mean(0, dtype="float64")
    scores = {}
    for strength in np.linalg.eigvalsh(products)[-1] * np.geomspace(np.finfo("f").eps, 10, 100):
        inverse = np.linalg.inv(products + strength * np.eye(100))
        hat = centred @ inverse @ centred.T
        score = np.square(wanted - hat @ wanted).sum() / (samples - 1 - np.trace(hat)) ** 2
        scores[score] = inverse @ centred.T @ wanted
    np.testing.assert_allclose(ridge(moments)[0], scores[min(scores)], atol=2e-3)


def test_decoder_of_random_features_is_the_ridge_solution(digits):
    model = aezoo.random_feature_ae(
        (8, 8, 1), 8, features=200, regularization=0.01, output_activation=None, seed=0
    )
    model.fit(digits, verbose=0)
    code = model.encode(digits)
    features = np.asarray(model.decoder.get_layer("features")(code))
    x = np.concatenate([code, features], 1).astype("float64")
    kernel, bias = model.decoder.get_layer("output").get_weights()
    centred = x - x.mean(0)
    error = flat(digits) - x @ kernel - bias
    strength = 0.01 * x.var(0).sum() / x.shape[1]
    assert np.abs(centred.T @ error / len(x) - strength * kernel).max() < 1e-5


def test_random_features_beat_pca_and_more_of_them_are_better(digits, test_digits):
    errors = [
        model.fit(digits, verbose=0) and model.reconstruction_error(test_digits).mean()
        for model in (
            aezoo.pca_ae((8, 8, 1), 16, output_activation="clip"),
            aezoo.random_feature_ae((8, 8, 1), 16, features=100, seed=0),
            aezoo.random_feature_ae((8, 8, 1), 16, features=600, seed=0),
        )
    ]
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.parametrize("kind", ["masking", "gaussian", "clipped"])
def test_marginalised_map_is_the_average_over_ten_thousand_copies(kind):
    x = np.clip(normal(40, 6, scale=0.2) @ normal(6, 6, 1, 0.5) + 0.5, 0, 1)
    copies = np.repeat(x, 10_000, 0)
    if kind == "masking":
        layer, found = MaskingCorruption(0.3, seed=0), exact_map(moments_of(x), "masking", 0.3)
    elif kind == "gaussian":
        layer = GaussianCorruption(0.4, clip=False, seed=0)
        found = exact_map(moments_of(x), "gaussian", 0.4)
    else:
        layer = GaussianCorruption(0.4, clip=True, seed=0)
        mean, targets = (np.asarray(part) for part in ClippedNoise(0.4)(x))
        found = clipped_map(moments_of(mean, targets))
    noisy = np.asarray(layer(copies, training=True), "float64")
    expected = np.linalg.lstsq(np.c_[noisy, np.ones(len(noisy))], copies, rcond=None)[0]
    np.testing.assert_allclose(found[0], expected[:-1], atol=0.01)
    np.testing.assert_allclose(found[1], expected[-1], atol=0.01)


def test_marginalised_layers_denoise_better_than_one(digits, test_digits):
    noisy = np.asarray(MaskingCorruption(0.25, seed=0)(flat(test_digits), training=True))
    errors = []
    for layers in (1, 3):
        model = aezoo.marginalized_ae((64,), level=0.25, layers=layers, seed=0)
        model.fit(flat(digits), verbose=0)
        errors.append(np.square(model.reconstruct(noisy) - flat(test_digits)).mean())
        assert model.encoder.output_shape == (None, 64 * layers)
    assert np.square(noisy - flat(test_digits)).mean() > errors[0] > errors[1]


def test_patches_make_features_and_filters_have_no_mean(digits, test_digits):
    from sklearn.datasets import load_digits

    model = aezoo.patch_ae((8, 8, 1), filters=60, kernel_size=3, seed=0)
    model.fit(digits, verbose=0)
    kernel, _ = model.encoder.get_layer("filters").get_weights()
    assert np.abs(kernel.sum((0, 1, 2))).max() < 1e-4 * np.abs(kernel).max()
    labels = {image.tobytes(): label for image, label in zip(
        load_digits().images, load_digits().target, strict=True)}  # fmt: skip
    y, y_test = (
        [labels[(image[..., 0] / 255 * 16).round().astype("float64").tobytes()] for image in part]
        for part in (digits, test_digits)
    )
    codes, test_codes = model.encode(digits), model.encode(test_digits)
    scale = codes.std(0) + 1e-3
    probe = LogisticRegression(max_iter=500).fit(codes / scale, y)
    assert probe.score(test_codes / scale, y_test) > 0.97
    pca = aezoo.patch_ae((8, 8, 1), filters=18, kernel_size=3, method="pca", seed=0)
    pca.fit(digits, verbose=0)
    assert np.isfinite(pca.encode(digits)).all()
    with pytest.raises(ValueError, match=r"`filters` must be at most 18.*Received: 19"):
        aezoo.patch_ae((8, 8, 1), filters=19, kernel_size=3, method="pca")


@pytest.mark.parametrize("samples", [30, 500], ids=["rows", "products"])
def test_sums_do_not_depend_on_blocks_or_order_and_merge(samples):
    x, t = normal(samples, 60) + 5, normal(samples, 3, 1)
    whole = moments_of(x, t, blocks=1)
    parts = moments_of(x[::-1], t[::-1], blocks=7)
    merged = moments_of(x[:10], t[:10])
    merged.merge(moments_of(x[10:], t[10:]))
    for other in (parts, merged, Moments.from_state(merged.state())):
        assert other.samples == samples
        assert other.few == whole.few
        one, two = whole.many(), other.many()
        for name in ("feature_mean", "target_mean", "products", "cross", "target_squares"):
            np.testing.assert_allclose(
                getattr(one, name), getattr(two, name), rtol=1e-5, atol=1e-4 * samples / 30
            )


def test_sums_of_far_off_data_are_centred():
    x = normal(5000, 4) + np.float32(3e4)
    found = moments_of(x).many()
    exact = np.cov(x.astype("float64").T, bias=True)
    np.testing.assert_allclose(found.products / 5000, exact, rtol=1e-4, atol=1e-4)
    products = [np.asarray(part) for part in block_products(x)]
    np.testing.assert_allclose(products[1], x.mean(0, dtype="float64"), rtol=1e-7)


@pytest.mark.parametrize("name", ["pca_ae", "marginalized_ae"])
def test_partial_fit_and_merge_equal_the_whole(name, digits, tmp_path):
    whole = aezoo.create(name, (8, 8, 1))
    whole.fit(digits, verbose=0)
    expected = whole.reconstruct(digits)
    model = aezoo.create(name, (8, 8, 1))
    model.fit(digits[:400], verbose=0)
    model.save(tmp_path / "m.keras")
    model = aezoo.load_model(tmp_path / "m.keras").partial_fit(digits[400:1000])
    other = aezoo.create(name, (8, 8, 1)).partial_fit(digits[1000:])
    assert model.merge(other) is model
    assert model.sums.samples == len(digits)
    np.testing.assert_allclose(model.reconstruct(digits), expected, atol=2e-5)


def test_models_of_two_stages_keep_the_first(digits):
    one = aezoo.random_feature_ae((8, 8, 1), 8, features=50, seed=0)
    one.fit(digits[:700], verbose=0)
    two = aezoo.random_feature_ae((8, 8, 1), 8, features=50, seed=0)
    two.fit(digits[:700], verbose=0)
    two.sums = None
    two.set_weights(one.get_weights())
    shard = two._last_stage().run([digits[700:]])
    before = one.encode(digits)
    one.sums.merge(shard)
    kernel = ridge(one.sums)[0]
    again = aezoo.random_feature_ae((8, 8, 1), 8, features=50, seed=0)
    again.fit(digits[:700], verbose=0)
    again.partial_fit(digits[700:])
    np.testing.assert_array_equal(again.encode(digits), before)
    found = again.decoder.get_layer("output").get_weights()[0]
    np.testing.assert_allclose(found, kernel, atol=1e-3)
    stranger = aezoo.random_feature_ae((8, 8, 1), 8, features=50, seed=1).partial_fit(digits)
    with pytest.raises(ValueError, match="all but the last stage"):
        one.merge(stranger)
    with pytest.raises(ValueError, match="must both be fitted"):
        one.merge(aezoo.pca_ae((8, 8, 1)))


def test_every_kind_of_data_gives_the_same_solution(digits):
    import tensorflow as tf

    def generator():
        yield from np.array_split(digits, 13)

    spec = tf.TensorSpec((None, 8, 8, 1), "uint8")
    unknown = tf.data.Dataset.from_generator(generator, output_signature=spec)
    endless = aezoo.data.load(digits, batch_size=1437, shuffle=False).repeat()
    expected = aezoo.pca_ae((8, 8, 1), 6)
    expected.fit(digits, verbose=0)
    wanted = expected.reconstruct(digits[:50])
    for data, options in [
        (aezoo.data.load(digits), {}),
        (aezoo.data.load(digits).map(lambda x: (x, x)), {}),
        (unknown, {}),
        (generator(), {}),
        (endless, {"steps_per_epoch": 1}),
    ]:
        model = aezoo.pca_ae((8, 8, 1), 6)
        model.run_eagerly = True
        model.fit(data, verbose=0, **options)
        assert model.sums.samples == len(digits)
        np.testing.assert_allclose(model.reconstruct(digits[:50]), wanted, atol=1e-5)
    with pytest.raises(ValueError, match="more than once"):
        aezoo.random_feature_ae((8, 8, 1), 4, features=20).fit(generator(), verbose=0)


@pytest.mark.parametrize("name", ["pca_ae", "random_feature_ae", "marginalized_ae", "elm_ae"])
def test_sound_on_data_that_break_formulas(name):
    shape = (30,)
    cases = {
        "one sample": normal(1, 30),
        "fewer samples than features": normal(12, 30),
        "constant": np.ones((100, 30), "float32"),
        "constant columns": normal(100, 30) * (np.arange(30) % 3 == 0),
        "rank 2": normal(300, 2) @ normal(2, 30, 1),
        "far off": normal(300, 30) + np.float32(1e4),
    }
    for case, x in cases.items():
        model = aezoo.create(name, shape, output_activation=None, seed=0)
        model.run_eagerly = True
        model.fit(x.astype("float32"), verbose=0)
        assert all(np.isfinite(weight).all() for weight in model.get_weights()), case
        assert np.isfinite(model.reconstruct(x)).all(), case
        if name == "pca_ae" and case != "far off":
            np.testing.assert_allclose(model.reconstruct(x), x, atol=1e-3, err_msg=case)


def test_what_the_data_do_not_have_is_zero_in_a_whitened_code():
    x = normal(300, 2) @ normal(2, 30, 1)
    model = aezoo.pca_ae((30,), 6, whiten=True)
    model.fit(x, verbose=0)
    np.testing.assert_allclose(model.encode(x).var(0), [1, 1, 0, 0, 0, 0], atol=1e-3)
    _, components, variances = principal_components(moments_of(x), 40)
    assert components.shape == (30, 40)
    assert (variances[2:] < 1e-5 * variances[0]).all()


def test_what_has_no_meaning_is_refused(digits):
    model = aezoo.pca_ae((8, 8, 1), 4)
    for options, message in [
        ({"epochs": 2}, r"`epochs` must be 1.*fine_tune.*Received: 2"),
        ({"sample_weight": np.ones(len(digits))}, "`sample_weight` must be left out"),
        ({"class_weight": {0: 2}}, "`class_weight` must be left out"),
        ({"y": 255 - digits}, "Targets must be the inputs themselves"),
    ]:
        before = model.get_weights()
        with pytest.raises(ValueError, match=message):
            model.fit(digits, verbose=0, **options)
        for one, other in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    weighted = aezoo.data.load(digits).map(lambda x: (x, x, x[:, 0, 0, 0]))
    with pytest.raises(ValueError, match="Sample weights must be left out"):
        model.fit(weighted, verbose=0)
    bad = digits.astype("float32") / 255
    bad[900, 0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        model.fit((bad[i : i + 100] for i in range(0, 1400, 100)), verbose=0)


def test_a_pass_that_fails_leaves_the_model_as_it_was(digits):
    model = aezoo.random_feature_ae((8, 8, 1), 4, features=20, seed=0)
    model.fit(digits, verbose=0)
    before = model.get_weights()
    with pytest.raises(ValueError, match="more than once"):
        model.fit(iter([255 - digits]), verbose=0)
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert model.sums.samples == len(digits)
    with pytest.raises(ValueError, match="must be compiled"):
        aezoo.pca_ae((8, 8, 1), compile=False).fit(digits)
    with pytest.raises(ValueError, match=r"must fit into memory.*Received: 22352 GiB"):
        check_memory(10**6, 0)


def test_data_that_fine_tune_refuses_leave_the_sums(digits):
    model = aezoo.pca_ae((8, 8, 1), 4)
    model.fit(digits, verbose=0)
    with pytest.raises(ValueError, match="Received"):
        model.fine_tune(digits[:, :4], verbose=0)
    assert model.partial_fit(digits[:10]).sums.samples == len(digits) + 10


def test_random_biases_of_extreme_learning_are_centred():
    """The paper's bias has length 1: each of its numbers a deviation of 1 / sqrt(units)."""
    layer = random_layer(64, 400, "sigmoid", 0)
    layer.build((None, 64))
    bias = to_numpy(layer.bias)
    assert abs(bias.mean()) < 3 * 0.05 / np.sqrt(400)
    assert np.linalg.norm(bias) == pytest.approx(1, rel=0.1)


def test_fine_tune_goes_on_from_the_closed_form(digits, tmp_path):
    model = aezoo.random_feature_ae((8, 8, 1), 8, features=100, learning_rate=1e-4, seed=0)
    solved = model.fit(digits, verbose=0).history["mse"][0]
    history = model.fine_tune(digits, epochs=3, verbose=0).history["mse"]
    assert history[2] < history[0] < 1.1 * solved
    model.save(tmp_path / "m.keras")
    loaded = aezoo.load_model(tmp_path / "m.keras")
    assert loaded.optimizer.iterations == 3 * 45
    for tuned in (model, loaded):
        with pytest.raises(ValueError, match="fine_tune dropped"):
            tuned.partial_fit(digits)
    loaded.fit(digits, verbose=0)
    assert loaded.partial_fit(digits[:10]).sums.samples == len(digits) + 10


def test_history_progress_and_callbacks(digits, capsys):
    seen = []
    callback = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append("begin"),
        on_epoch_end=lambda epoch, logs: seen.append(set(logs)),
    )
    model = aezoo.pca_ae((8, 8, 1), 4)
    history = model.fit(digits, validation_split=0.1, callbacks=[callback])
    assert isinstance(history, keras.callbacks.History)
    assert seen == ["begin", {"loss", "mse", "val_loss", "val_mse"}]
    assert model.sums.samples == 1293
    assert "mse" in capsys.readouterr().out


def test_recipe_trains_a_closed_form(tmp_path):
    run = aezoo.train(aezoo.pca_ae((8, 8, 1), 16), "digits", out=tmp_path / "run", verbose=False)
    assert len(run.history["epoch"]) == 1
    assert run.metrics["mse"] == pytest.approx(run.metrics["pca"]["mse"], rel=1e-3)
    loaded = aezoo.load_model(tmp_path / "run")
    assert loaded.sums.samples == 1437


def test_sample_is_drawn_evenly():
    sample = Sample(200)
    for rows in np.array_split(np.arange(10_000), 9):
        sample.add(rows)
    assert len(set(sample.rows.tolist())) == 200
    assert 4300 < sample.rows.mean() < 5700


@pytest.mark.parametrize("name", [*filter(is_closed_form, aezoo.list_models())])
def test_one_number_is_the_shape_of_a_vector(name):
    if name == "patch_ae":
        with pytest.raises(ValueError, match=r"`input_shape` must be .*Received: 7"):
            aezoo.create(name, 7)
    else:
        assert aezoo.create(name, 7).input_shape == (None, 7)


def test_validation_data_with_weights_are_refused_before_the_sums(digits):
    model = aezoo.pca_ae((8, 8, 1), 4)
    with pytest.raises(ValueError, match=r"`validation_data` must be .*Received: 3 parts"):
        model.fit(digits, validation_data=(digits, digits, np.ones(len(digits))), verbose=0)
    assert model.sums is None
