"""A loss is one number: in `fit` and in `evaluate`, in any batches, with and without XLA."""

import keras
import numpy as np
import pytest

import aezoo
from tests.conftest import SMALL, is_closed_form, quick_for

# of each a model that draws in evaluation, or whose loss is of whole batches
DRAWING = {
    "adversarial_ae": {},
    "contractive_ae": {"hidden_units": (16,)},
    "denoising_ae": {},
    "masked_ae": {},
    "vae": {},
    "vae of several samples": {"importance_samples": 5},
}
OF_BATCHES = {"sparse_ae": {"penalty": "kl"}, "vae": {"free_bits": 0.1}, "wae": {}}
MODELS = [name for name in aezoo.list_models() if not is_closed_form(name)]


def make(label, **options):
    name = label.split()[0]
    return aezoo.create(name, (8, 8, 1), seed=0, **{**SMALL.get(name, {}), **options})


@pytest.mark.parametrize("label", DRAWING)
def test_the_loss_of_an_evaluation_depends_on_no_batches(label, digits):
    model = make(label, **DRAWING[label])
    model.run_eagerly = True
    losses = [model.evaluate(digits[:70], batch_size=size, verbose=0) for size in (70, 32, 32)]
    assert losses[1] == losses[2]
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-5)


def test_the_noise_of_a_validation_depends_on_no_batches(digits):
    """Arrays, and datasets of any batches, larger and smaller than the blocks of noise."""
    import tensorflow as tf

    model = make("denoising_ae", architecture="dense", hidden_units=(16,))
    model.run_eagerly = True
    x = digits[:600]
    noisy = model.corrupt(x, 3)
    losses = [model.evaluate(x, verbose=0)[0]]
    for size in (32, 100, 600):
        dataset = tf.data.Dataset.from_tensor_slices(x).batch(size)
        np.testing.assert_array_equal(model.corrupt(dataset, 3), noisy)
        losses.append(model.evaluate(dataset, verbose=0)[0])
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("label", [*MODELS, "vae of several samples"])
def test_val_loss_is_what_evaluate_says_with_and_without_xla(label, jit_compile, digits):
    model = make(label, jit_compile=jit_compile, **DRAWING.get(label, {}))
    history = model.fit(digits[:250], validation_data=digits[300:370], epochs=2, verbose=0).history
    found = model.evaluate(digits[300:370], verbose=0, return_dict=True)
    for key, value in found.items():
        assert history[f"val_{key}"][-1] == pytest.approx(value, rel=1e-5), key
    model.compile("adam", model.loss, metrics=[keras.metrics.MeanSquaredError(name="mse")],
                  jit_compile=not jit_compile)  # fmt: skip
    other = model.evaluate(digits[300:370], verbose=0, return_dict=True)
    assert other["loss"] == pytest.approx(found["loss"], rel=1e-4)


def test_val_loss_is_what_evaluate_says(digits):
    model = make("vae", jit_compile=True)
    history = model.fit(digits[:64], batch_size=16, validation_data=digits[300:370], verbose=0)
    expected = model.evaluate(digits[300:370], verbose=0)[0]
    assert history.history["val_loss"][0] == pytest.approx(expected, rel=1e-5)


WEIGHED = {name: OF_BATCHES.get(name, {}) for name in MODELS}


@pytest.mark.parametrize("name", quick_for(("adversarial_ae", *OF_BATCHES), WEIGHED))
def test_sample_weights_weigh_every_term_of_the_loss(name, digits):
    model, x = make(name, **WEIGHED[name]), digits[:32]
    model.run_eagerly = True
    whole = model.evaluate(x, verbose=0, return_dict=True)["loss"]
    light = model.evaluate(
        x, x, sample_weight=np.full(32, 0.01, "float32"), verbose=0, return_dict=True
    )["loss"]
    assert light == pytest.approx(0.01 * whole, rel=1e-4)


@pytest.mark.parametrize(
    "name",
    quick_for(
        ("adversarial_ae", "contractive_ae", "sparse_ae", "vae"),
        [name for name in MODELS if name not in ("wae", "masked_ae")],
    ),
)
def test_samples_of_no_weight_do_not_count(name, digits):
    model = make(name)
    model.run_eagerly = True
    weights = np.repeat(np.float32([1, 0]), [20, 12])
    alone = model.evaluate(digits[:20], verbose=0, return_dict=True)["loss"]
    found = model.evaluate(digits[:32], digits[:32], sample_weight=weights, verbose=0,
                           return_dict=True)["loss"]  # fmt: skip
    assert found == pytest.approx(alone * 20 / 32, rel=1e-4)


def test_the_statistics_of_a_batch_are_those_of_weighed_samples(digits):
    from aezoo.layers.reporting import batch_mean, weighing_samples
    from aezoo.layers.sampling import MaximumMeanDiscrepancy

    values = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    with weighing_samples(np.float32([1, 2, 0, 0, 0, 1])):
        found = np.asarray(batch_mean(values))
    np.testing.assert_allclose(found, (values[0] + 2 * values[1] + values[5]) / 4, rtol=1e-6)
    codes, prior = values[:4], np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
    discrepancy = MaximumMeanDiscrepancy.discrepancy
    ones = np.asarray(discrepancy(codes, prior, np.ones(4, "float32")))
    np.testing.assert_allclose(ones, discrepancy(codes, prior), rtol=1e-5)


def test_masked_ae_learns_whole_images_from_small_batches(digits):
    """Without a sample that is not masked, whole images come out at about the mean's error."""
    model = make("masked_ae", mask_ratio=0.75)
    assert [model._whole(batch) for batch in (1, 2, 8, 15, 16, 32, 64)] == [0, 1, 1, 1, 1, 2, 4]
    assert int(model._whole(keras.ops.convert_to_tensor(8))) == 1
    model.fit(digits[:1200], batch_size=8, epochs=4, verbose=0)
    whole = model.reconstruction_error(digits[1200:]).mean()
    mean = np.square(digits[1200:] / 255 - digits[:1200].mean(0) / 255).mean()
    assert whole < 0.35 * mean


def test_adversarial_ae_stays_finite_in_half_precision(digits):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make("adversarial_ae")
        far = np.float32(20) * np.ones((4, 8), "float32")  # where a discriminator is sure of itself
        prior = model.encoder.get_layer("prior")
        for layer, weights in zip(prior.discriminator, (1, 1, -6), strict=True):
            layer.set_weights([weights * np.ones_like(w) / len(w) for w in layer.get_weights()])
        import tensorflow as tf

        codes = tf.Variable(tf.cast(far, "float16"))
        with tf.GradientTape() as tape:
            prior(codes)
            loss = prior.losses[0]
        assert float(prior.score(tf.cast(far, "float32"))[0, 0]) < -11.1
        assert np.isfinite(loss)
        assert np.isfinite(tape.gradient(loss, codes)).all()
    finally:
        keras.config.set_dtype_policy("float32")
