"""Other precisions: dtypes, losses near float32's, and files that keep them."""

import keras
import numpy as np
import pytest

import aezoo
from tests.conftest import is_closed_form, quick_for, small

MODELS = aezoo.list_models()
DRAWING = ("adversarial_ae", "denoising_ae", "elm_ae", "vae", "vq_vae", "wae")  # in training


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.fixture
def policy():
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="module")
def in_float32(digits):
    """The loss after a short training in float32, of each model once."""
    found = {}

    def get(name):
        if name not in found:
            found[name] = trained(name, digits[:160])[1]
        return found[name]

    return get


def trained(name, x, weights=None):
    model = small(name, latent_dim=16)
    if weights is not None:
        model.set_weights(weights)
    model.run_eagerly = not is_closed_form(name)  # a few steps are not worth a compilation
    losses = model.fit(x, shuffle=False, verbose=0).history["loss"]
    return model, losses[-1]


@pytest.mark.parametrize("name", quick_for(("conv_ae", "masked_ae", "pca_ae", "vae", "vq_vae")))
def test_mixed_float16(name, policy, in_float32, digits, tmp_path):
    expected = in_float32(name)
    policy("mixed_float16")
    model, loss = trained(name, digits[:160])
    assert loss == pytest.approx(expected, rel=0.05)
    check_dtypes(model, "float16", digits)
    model.save(tmp_path / "model.keras")
    policy("float32")
    loaded = aezoo.load_model(tmp_path / "model.keras")
    found, expected = (each.reconstruct(digits[:9]) for each in (loaded, model))
    np.testing.assert_allclose(found, expected, atol=2e-3)  # threads add in another order
    scales = [isinstance(m.optimizer, keras.optimizers.LossScaleOptimizer) for m in (model, loaded)]
    assert scales == [True, True]
    loaded.run_eagerly = True
    go_on = loaded.fine_tune if is_closed_form(name) else loaded.fit
    assert np.isfinite(go_on(digits[:64], verbose=0).history["loss"]).all()


@pytest.mark.slow
def test_mixed_bfloat16(name, policy, bfloat16, in_float32, digits):
    expected = in_float32(name)
    policy("mixed_bfloat16")
    model, loss = trained(name, digits[:160])
    assert loss == pytest.approx(expected, rel=0.1)
    check_dtypes(model, "bfloat16", digits)


@pytest.mark.slow
def test_float64(name, policy, digits):
    weights = small(name, latent_dim=16).get_weights()
    _, expected = trained(name, digits[:320], weights)
    policy("float64")  # where other numbers are drawn
    model, loss = trained(name, digits[:320], weights)
    assert loss == pytest.approx(expected, rel=0.05 if name in DRAWING else 1e-5)
    assert model.reconstruct(digits[:3]).dtype == "float64"


def test_the_recipe_and_time_budgets_train_in_mixed_float16(policy):
    losses = {}
    for precision in ("float32", "mixed_float16"):
        policy(precision)
        model = small("dense_ae", latent_dim=16)
        run = aezoo.train(model, "digits", epochs=4, seed=0, verbose=False)
        losses[precision] = run.history["mse"]
    assert losses["mixed_float16"] == pytest.approx(losses["float32"], rel=0.05)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    budget = aezoo.callbacks.TimeBudget(60.0)
    model.fit(aezoo.data.load("digits"), verbose=0, callbacks=[budget])
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)


def check_dtypes(model, compute, digits):
    """float32 weights and reconstructions, and layers that compute in less."""
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert model.reconstruct(digits[:3]).dtype == "float32"
    layers = [layer for part in (model.encoder, model.decoder) for layer in part.layers]
    assert compute in {layer.compute_dtype for layer in layers}
    codes = model.encode(digits[:9])
    assert codes.dtype == "float32"
    assert np.isfinite(codes).all()


def test_what_needs_precision_has_it(policy, digits):
    """Learnt variances, large log-variances, and the sums of closed forms."""
    precise = small("pca_ae")
    precise.fit(digits, verbose=0)
    policy("mixed_float16")
    learnt = small("vae", likelihood="gaussian", variance="learnt")
    assert learnt.reconstruct(digits[:3]).dtype == "float32"
    layer = aezoo.layers.Sampling(seed=0)
    codes = layer(np.full((4, 8), 15, "float16"), training=True)
    assert codes.dtype == "float16"
    assert np.isfinite(float(layer.losses[0]))
    half = small("pca_ae")
    half.fit(digits, verbose=0)
    np.testing.assert_allclose(*(np.abs(m.weights[0]) for m in (half, precise)), atol=1e-4)


def test_a_float32_model_stays_one_under_another_policy(policy, digits, tmp_path):
    model = small("dense_ae")
    model.save(tmp_path / "model.keras")
    policy("mixed_float16")
    loaded = aezoo.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.reconstruct(digits[:9]), model.reconstruct(digits[:9]))
    assert not isinstance(loaded.optimizer, keras.optimizers.LossScaleOptimizer)


def test_the_command_line_trains_and_resumes_in_a_precision(policy, bfloat16, tmp_path):
    import json

    from typer.testing import CliRunner

    from aezoo.cli.app import app

    run = tmp_path / "run"
    command = ["train", "dense_ae", "--hidden-units", "16", "--epochs", "1", "--out", str(run)]
    done = CliRunner().invoke(app, [*command, "--precision", "mixed_bfloat16"])
    assert done.exit_code == 0, done.output
    assert json.loads((run / "config.json").read_text())["precision"] == "mixed_bfloat16"
    assert aezoo.load_model(run).encoder.layers[-1].compute_dtype == "bfloat16"
    other = CliRunner().invoke(app, [*command, "--precision", "float64", "--resume"])
    assert "`--precision` must be that of the run to resume" in str(other.exception)
    wrong = CliRunner().invoke(app, [*command, "--precision", "float8"])
    assert "`--precision` must be one of" in str(wrong.exception)
