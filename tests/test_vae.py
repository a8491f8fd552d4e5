"""What the variational family promises."""

import itertools

import keras
import numpy as np
import pytest

import aezoo
from aezoo.layers import MaximumMeanDiscrepancy, Sampling
from aezoo.losses import BernoulliLikelihood, GaussianLikelihood


def test_divergence_is_that_of_its_formula():
    parameters = np.random.default_rng(0).normal(size=(6, 10)).astype("float32")
    layer = Sampling()
    layer(parameters)
    mean, log_variance = parameters[:, :5].astype("f8"), parameters[:, 5:].astype("f8")
    expected = (0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance)).sum(1).mean()
    np.testing.assert_allclose(layer.losses[0], expected, rtol=1e-5)


def test_free_bits_and_warmup():
    parameters = np.zeros((6, 10), "float32")
    layer = Sampling(free_bits=0.25)
    layer(parameters)
    np.testing.assert_allclose(layer.losses[0], 5 * 0.25)
    layer = Sampling(beta=2.0, warmup_steps=4)
    weights = []
    for _ in range(6):
        layer(np.ones((6, 10), "float32"), training=True)
        weights.append(float(layer.losses[0]))
    np.testing.assert_allclose(np.array(weights) / weights[-1], [0.25, 0.5, 0.75, 1, 1, 1])
    layer = Sampling(beta=2.0, warmup_steps=4)
    layer(np.ones((6, 10), "float32"))
    np.testing.assert_allclose(layer.losses[0], weights[-1], rtol=1e-6)


def test_draws_in_training_alone():
    layer = Sampling(seed=0)
    parameters = np.zeros((5000, 4), "float32")
    drawn = np.asarray(layer(parameters, training=True))
    assert abs(drawn.std() - 1) < 0.05
    assert (drawn != np.asarray(layer(parameters, training=True))).any()
    np.testing.assert_array_equal(layer(parameters), parameters[:, :2])


@pytest.mark.parametrize("size", [1, 7])
def test_the_loss_is_the_bound_at_every_size(size):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (40, size)).astype("float32")
    model = aezoo.vae((size,), 2, hidden_units=(8,), seed=0)
    mean, log_variance = model.encode(x, return_distribution=True)
    z = mean + np.exp(log_variance / 2) * rng.normal(size=(400, *mean.shape))
    p = model.decode(z.reshape(-1, 2).astype("float32")).reshape(400, *x.shape).astype("f8")
    bounds = (x * np.log(p) + (1 - x) * np.log1p(-p)).sum(2)
    kl = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(1)
    many = np.repeat(x, 500, 0)
    found = model.evaluate(many, batch_size=1000, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["kl"], kl.mean(), rtol=1e-4)
    np.testing.assert_allclose(found["loss"], (kl - np.mean(bounds, 0)).mean(), rtol=0.01)
    np.testing.assert_allclose(found["loss"], found["reconstruction"] + found["kl"], rtol=1e-5)
    assert found["loss"] == model.evaluate(many, batch_size=1000, verbose=0)[0]


@pytest.mark.parametrize(
    "options",
    [{}, {"likelihood": "gaussian", "variance": 0.3, "output_activation": None}],
    ids=["bernoulli", "gaussian"],
)
def test_likelihood_and_bound_agree_with_numerical_integration(options):
    x = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]], "float32")
    model = aezoo.vae((3,), 1, hidden_units=(6,), seed=3, **options)
    model.set_weights([1.5 * w for w in model.get_weights()])
    z = np.linspace(-9, 9, 4001, dtype="float32")[:, None]
    decoded = model.decode(z).astype("f8")[None]
    if not options:
        decoded = np.clip(decoded, 1e-7, 1 - 1e-7)
        logs = x[:, None] * np.log(decoded) + (1 - x[:, None]) * np.log1p(-decoded)
    else:
        logs = -((x[:, None] - decoded) ** 2) / 0.6 - 0.5 * np.log(2 * np.pi * 0.3)
    prior = np.exp(-(z[:, 0] ** 2) / 2) / np.sqrt(2 * np.pi)
    exact = np.log((np.exp(logs.sum(-1)) * prior).sum(-1) * (z[1, 0] - z[0, 0]))
    estimated = model.log_likelihood(x, samples=100_000)
    np.testing.assert_allclose(estimated, exact, atol=0.03)
    bound = -model.evaluate(np.repeat(x, 500, 0), batch_size=1500, verbose=0)[0]
    assert bound < exact.mean() - 1e-3


def test_importance_weighted_bound_is_tighter_and_right(digits):
    x = (digits[:200] > 100).astype("float32")
    one = aezoo.vae((8, 8, 1), 3, hidden_units=(16,), seed=0)
    one.fit(x, epochs=3, verbose=0)
    many = aezoo.vae((8, 8, 1), 3, hidden_units=(16,), importance_samples=50, seed=0)
    many.set_weights(one.get_weights())
    loose, tight = (model.evaluate(x, verbose=0)[0] for model in (one, many))
    exact = -one.log_likelihood(x, samples=2000).mean()
    assert exact < tight < loose
    np.testing.assert_allclose(tight, -one.log_likelihood(x, samples=50).mean(), atol=0.2)
    before = many.evaluate(x, verbose=0, return_dict=True)
    many.fit(x, epochs=5, verbose=0)
    after = many.evaluate(x, verbose=0, return_dict=True)
    assert after["loss"] < before["loss"]
    assert after["mse"] < before["mse"]


def test_discrepancy_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(20, 3)).astype("float32") for _ in range(2))

    def kernel(one, two):
        return 6 / (6 + ((one - two) ** 2).sum())

    pairs = list(itertools.permutations(range(20), 2))
    same = sum(kernel(s[i], s[j]) for s in (a, b) for i, j in pairs) / len(pairs)
    crossed = np.mean([kernel(one, two) for one in a for two in b])
    found = MaximumMeanDiscrepancy.discrepancy(
        keras.ops.convert_to_tensor(a), keras.ops.convert_to_tensor(b)
    )
    np.testing.assert_allclose(found, same - 2 * crossed, atol=1e-5)


def test_discrepancy_pulls_the_codes_to_the_prior(digits):
    spread = []
    for weight in (0.0, 100.0):
        model = aezoo.wae(
            (8, 8, 1), 2, mmd_weight=weight, hidden_units=(64,), learning_rate=0.003, seed=0
        )
        model.fit(digits, epochs=15, verbose=0)
        codes = model.encode(digits)
        spread.append(abs(codes.mean(0)).max() + abs(np.cov(codes.T) - np.eye(2)).max())
    assert spread[1] < 0.8
    assert spread[0] > 4


@pytest.mark.parametrize("variance", [pytest.param("optimal", marks=pytest.mark.slow), "learnt"])
def test_variance_of_a_gaussian_is_found(digits, variance, tmp_path):
    model = aezoo.vae(
        (8, 8, 1), 8, likelihood="gaussian", variance=variance, learning_rate=0.01, seed=0
    )
    model.fit(digits, epochs=25, verbose=0)
    found = model.evaluate(digits, verbose=0, batch_size=1437, return_dict=True)
    optimal = 32 * (np.log(2 * np.pi * found["mse"]) + 1)
    np.testing.assert_allclose(found["reconstruction"], optimal, rtol=0.05)
    model.save(tmp_path / "m.keras")
    again = aezoo.load_model(tmp_path / "m.keras")
    assert again.evaluate(digits, verbose=0, batch_size=1437)[0] == found["loss"]
    if variance == "learnt":
        weights = [w.path for w in again.trainable_variables]
        assert any("log_variance" in path for path in weights)
        assert np.isfinite(again.log_likelihood(digits[:20])).all()


def test_collapse_is_visible(digits):
    active = []
    for beta in (1.0, 1000.0):
        model = aezoo.vae((8, 8, 1), 6, beta=beta, hidden_units=(64,), learning_rate=0.003, seed=0)
        active.append(model.fit(digits, epochs=10, verbose=0).history["active_units"][-1])
    assert active[0] >= 4
    assert active[1] == 0


def test_interpolation_ends_at_the_reconstructions(digits):
    model = aezoo.vae((8, 8, 1), 4, architecture="conv", filters=(8,), seed=0)
    a, b = digits[:3], digits[3:6]
    lines = model.interpolate(a, b, steps=5)
    assert lines.shape == (3, 5, 8, 8, 1)
    np.testing.assert_allclose(lines[:, 0], model.reconstruct(a), atol=1e-5)
    np.testing.assert_allclose(lines[:, -1], model.reconstruct(b), atol=1e-5)
    with pytest.raises(ValueError, match=r"the same number of samples\. Received: 3 and 2"):
        model.interpolate(a, b[:2])
    np.testing.assert_array_equal(model.generate(4, seed=1), model.generate(4, seed=1))


@pytest.mark.parametrize("architecture", ["dense", pytest.param("conv", marks=pytest.mark.slow)])
def test_conditional_model_uses_its_labels(digits, architecture, tmp_path):
    labels = aezoo.data.arrays("digits", labels=True)[1]
    options = {"learning_rate": 0.003, "hidden_units": (128,), "filters": (16, 32), "seed": 0}
    model = aezoo.vae((8, 8, 1), 4, architecture=architecture, num_classes=10, **options)
    data = aezoo.data.load("digits", labels=True, seed=0)
    history = model.fit(data, epochs=12, validation_data=data, verbose=0).history
    assert history["val_loss"][-1] < history["val_loss"][0]
    means = np.stack([(digits[labels == k] / 255).mean(0) for k in range(10)])
    drawn = model.generate(200, labels=np.repeat(np.arange(10), 20), seed=0)
    nearest = ((drawn[:, None] - means) ** 2).sum((2, 3, 4)).argmin(1)
    assert (nearest == np.repeat(np.arange(10), 20)).mean() > 0.8
    x, y = digits[:30], labels[:30]
    model.save(tmp_path / "m.keras")
    again = aezoo.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again.encode(x, labels=y), model.encode(x, labels=y))
    np.testing.assert_allclose(
        model.decode(model.encode(x, labels=y), labels=y), model.reconstruct(x, labels=y), atol=1e-6
    )
    right = model.reconstruction_error(x, labels=y).mean()
    wrong = model.reconstruction_error(x, labels=(y + 5) % 10).mean()
    assert right < wrong
    assert (
        model.log_likelihood(x, labels=y) > model.log_likelihood(x, labels=(y + 5) % 10)
    ).mean() > 0.7
    model.fit(x, y, validation_split=0.2, verbose=0)
    assert np.isfinite(model.evaluate(x, y, verbose=0)).all()
    assert model.interpolate(x[:2], x[2:4], 3, labels=y[:2]).shape == (2, 3, 8, 8, 1)
    for labels, received in (
        (None, "None"),
        (y + 10, "labels from"),
        (y / 2, "float64"),
        (y[:3], r"\(3,\)"),
    ):
        with pytest.raises(ValueError, match=f"`labels` must be an integer of 0 to 9.*{received}"):
            model.encode(x, labels=labels)
    with pytest.raises(ValueError, match=r"dataset of \(inputs, labels\)"):
        model.fit(aezoo.data.load("digits"))
    with pytest.raises(ValueError, match=r"`model` must take inputs alone"):
        aezoo.train(model, "digits")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "poisson"}, "likelihood"),
        ({"variance": "best", "likelihood": "gaussian"}, "variance"),
        ({"variance": -1, "likelihood": "gaussian"}, "variance"),
        ({"architecture": "resnet"}, "architecture"),
        ({"beta": -1}, "beta"),
        ({"importance_samples": 0}, "importance_samples"),
        ({"importance_samples": 5, "beta": 2}, "importance_samples"),
        ({"num_classes": 0}, "num_classes"),
        ({"output_activation": None}, "output_activation"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=f"`{message}`.*Received"):
        aezoo.vae((8, 8, 1), **options)


def test_losses_are_summed_over_elements():
    x, y = np.random.default_rng(0).random((2, 5, 4, 3, 2)).astype("float32")
    expected = -(x * np.log(y) + (1 - x) * np.log(1 - y)).sum((1, 2, 3)).mean()
    np.testing.assert_allclose(BernoulliLikelihood()(x, y), expected, rtol=1e-5)
    expected = (((x - y) ** 2) / 4 + 0.5 * np.log(4 * np.pi)).sum((1, 2, 3)).mean()
    np.testing.assert_allclose(GaussianLikelihood(2.0)(x, y), expected, rtol=1e-5)


def test_a_loss_that_is_not_finite_is_found_and_undone(digits):
    model = aezoo.vae((8, 8, 1), 2, beta=1e38, seed=0)
    model.encoder.get_layer("sampling").beta = 1e39  # above float32
    watch = aezoo.callbacks.StopOnNaN()
    model.fit(digits[:64], verbose=0, callbacks=[watch])
    assert watch.failed_epoch == 0
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    assert watch.first_to_fail(aezoo.data.load(digits[:64])) == "loss went first, at step 1"
