"""What every model of the zoo promises; a new one is tested the moment it registers."""

import importlib.util
import inspect

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aezoo
from aezoo.inputs.arrays import to_numpy
from aezoo.models._registry import get_factory
from tests.conftest import (
    STEP_BY_STEP,
    WITHOUT_CODE,
    has_latent_dim,
    most,
    quick_for,
    run_python,
    small,
    train,
)

MODELS = aezoo.list_models()
# A number of order 1 that is a sum of 64 products, each rounded to 2**-24 of it: other batches and
# other compilations add in another order, and a matrix library promises no more.
ROUNDING = 64 * 2**-24
FOUR_WAYS = ("dense_ae", "denoising_ae", "pca_ae", "vae")  # compiled, as users train
# a net, a discriminator, a codebook and a closed form, where a promise takes seconds
REPRESENTATIVE = ("adversarial_ae", "dense_ae", "pca_ae", "vq_vae")
SAVED = ["dense_ae", "pca_ae", "vq_vae"]
EPOCHS = {  # until a model is far better than the mean, where that is not about 8
    "adversarial_ae": 15,
    "contractive_ae": 15,
    "conv_ae": 3,
    "sequence_ae": 12,
    "vae": 15,
}
SHARED = {
    "weights": None,
    "optimizer": "adam",
    "loss": None,
    "learning_rate": None,
    "jit_compile": "auto",
    "compile": True,
    "seed": None,
}


@pytest.fixture(params=MODELS, scope="module")
def name(request):
    """The model; a module's scope runs the tests of one model together."""
    return request.param


@pytest.fixture(scope="module")
def model(name):
    """A model that its tests share, as none of them changes it; what it compiled is shared too."""
    return small(name)


def in_batches(*arrays):
    """A dataset of batches of 32, or a generator of them where there is no TensorFlow."""
    if importlib.util.find_spec("tensorflow"):
        import tensorflow as tf

        columns = arrays if len(arrays) > 1 else arrays[0]
        return tf.data.Dataset.from_tensor_slices(columns).batch(32)
    return Batches(arrays)


class Batches(keras.utils.PyDataset):
    def __init__(self, arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return -(-len(self.arrays[0]) // 32)

    def __getitem__(self, index):
        parts = tuple(array[index * 32 : (index + 1) * 32] for array in self.arrays)
        return parts if len(parts) > 1 else parts[0]


def test_signature_has_the_shared_arguments_with_their_meaning(name):
    parameters = inspect.signature(get_factory(name)).parameters
    assert next(iter(parameters)) == "input_shape"
    assert not has_latent_dim(name) or list(parameters)[1] == "latent_dim"
    for key, default in SHARED.items():
        assert parameters[key].default == default, key
        assert parameters[key].kind is inspect.Parameter.KEYWORD_ONLY, key
    assert parameters["name"].default == name


def test_docstring_says_what_it_minimises_and_where_it_comes_from(name):
    text = inspect.getdoc(get_factory(name))
    for part in ("Minimises", "Args:", "Returns:", "Raises:", "Example:", "Reference:"):
        assert part in text
    for argument in inspect.signature(get_factory(name)).parameters:
        assert f"\n    {argument}: " in text, argument


@pytest.fixture(scope="module")
def coded(model):
    """The model of a test that is about codes."""
    if model.name in WITHOUT_CODE:
        pytest.skip("it has no code")
    return model


def parts_of(model):
    """The model, and encoder and decoder where it has them."""
    return [model] if model.code_size is None else [model, model.encoder, model.decoder]


def test_is_compiled_and_gives_what_it_takes(name, model):
    assert isinstance(model, aezoo.ReconstructionModel)
    assert isinstance(model, aezoo.Autoencoder) == (name not in WITHOUT_CODE)
    assert model.compiled
    assert model.input_shape == model.output_shape == (None, 8, 8, 1)
    assert not small(name, compile=False).compiled


def test_an_autoencoder_is_made_of_an_encoder_and_a_decoder(coded):
    model = coded
    assert model.encoder.input_shape == model.output_shape == (None, 8, 8, 1)
    assert model.decoder.input_shape == model.encoder.output_shape
    assert model.code_size == np.prod(model.encoder.output_shape[1:])


def test_what_has_no_code_says_so_wherever_one_is_needed(name, model, digits):
    if name not in WITHOUT_CODE:
        assert model.code_size is not None
        return
    for call in (
        lambda: aezoo.transfer.features(model, digits),
        lambda: aezoo.plots.traversals(model, digits),
        lambda: aezoo.anomaly.Detector(model, "nearest"),
    ):
        with pytest.raises(ValueError, match=rf"code. Received: {name}, which has no code"):
            call()


def test_any_latent_dim_and_layer_names(name):
    one, two = small(name), small(name)
    assert not has_latent_dim(name) or one.encoder.output_shape == (None, 4)
    for part, other in zip(parts_of(one), parts_of(two), strict=True):
        assert [layer.name for layer in part.layers] == [layer.name for layer in other.layers]


@pytest.mark.parametrize("name", quick_for(REPRESENTATIVE))
def test_the_four_ways_to_fit_train_the_same_weights(name, digits):
    x = digits[:96]
    ways = [
        {"x": x, "shuffle": False, "batch_size": 32},
        {"x": in_batches(x, x)},
        {"x": x, "y": x, "shuffle": False, "batch_size": 32},
        {"x": in_batches(x)},
    ]
    compiled = name in FOUR_WAYS
    if not compiled:  # the way of the data is the same for all; seconds count
        ways = ways[:2]
    trained = []
    for way in ways:
        model = small(name)
        train(model, epochs=2 if compiled else 1, step_by_step=not compiled, **way)
        trained.append(model.get_weights())
    for weights in trained[1:]:
        for one, other in zip(trained[0], weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_labels_are_refused(name, digits):
    model = small(name)
    model.run_eagerly = True
    labels = np.arange(96)
    for y in (labels, labels[:, None], keras.utils.to_categorical(labels % 10)):
        with pytest.raises(ValueError, match=r"drop the labels.*Received: targets of shape"):
            model.fit(digits[:96], y, verbose=0)
        with pytest.raises(ValueError, match="drop the labels"):
            model.train_on_batch(digits[:96], y)
    with pytest.raises(ValueError, match="drop the labels"):
        model.fit(in_batches(digits[:96], labels), verbose=0)


def test_pixels_are_scaled_wherever_they_enter(model, digits):
    x = digits[:70]
    scaled = x.astype("float32") / 255
    deep = x.astype("uint16") * 257
    for part in parts_of(model)[:2]:
        part.run_eagerly = STEP_BY_STEP and model.name not in FOUR_WAYS
        expected = part.predict(scaled, verbose=0)
        np.testing.assert_allclose(part.predict(x, verbose=0), expected, atol=1e-6)
        np.testing.assert_allclose(part.predict(deep, verbose=0), expected, atol=1e-6)
        np.testing.assert_allclose(to_numpy(part(x)), to_numpy(part(scaled)), atol=ROUNDING)
    model.run_eagerly = STEP_BY_STEP
    for call in (model.reconstruction_error, lambda x: model.evaluate(x, None, 70, verbose=0)):
        np.testing.assert_allclose(call(x), call(scaled), rtol=1e-5)
    for part in parts_of(model)[:2]:
        part.run_eagerly = False


def test_other_integers_are_refused_everywhere(model, digits):
    for dtype in ("int64", "int32", "int8", "uint32"):
        x = digits[:20].astype(dtype)
        calls = [model.fit, model.reconstruct, model.reconstruction_error, model]
        for call in [*calls, model.encode] if model.code_size else calls:
            with pytest.raises(ValueError, match=rf"uint8 or uint16.*Received: dtype {dtype}"):
                call(x)
    with pytest.raises(ValueError, match="uint8 or uint16"):
        parts_of(model)[:2][-1].predict(x, verbose=0)


def test_reconstruct_is_deterministic_and_gives_the_error(model, digits):
    x = digits[:70]
    found = model.reconstruct(x)
    np.testing.assert_array_equal(found, model.reconstruct(x))
    dataset = in_batches(x, np.arange(70))
    np.testing.assert_allclose(model.reconstruct(dataset), found, atol=ROUNDING)
    errors = model.reconstruction_error(dataset)
    expected = ((x / 255.0 - found) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(errors, expected, rtol=1e-4, atol=ROUNDING)


def test_encode_and_decode_are_deterministic_and_agree(coded, digits):
    model, x = coded, digits[:70]
    codes = model.encode(x)
    assert codes.shape == (70, *model.encoder.output_shape[1:])
    np.testing.assert_array_equal(codes, model.encode(x))
    np.testing.assert_allclose(model.decode(codes), model.reconstruct(x), atol=1e-6)
    dataset = in_batches(x, np.arange(70))
    np.testing.assert_allclose(model.encode(dataset), codes, atol=1e-6)


def test_learns_more_than_the_mean_of_the_digits_and_reports_mse(name, digits, test_digits):
    model = small(name, latent_dim=16)
    history = model.fit(
        digits[:1408],  # whole batches, as JAX compiles anew for a smaller one
        epochs=most(model, EPOCHS.get(name, 8)),
        batch_size=64,
        validation_data=test_digits[:320],
        verbose=0,
    ).history
    mean = (digits / 255.0).mean(0)
    baseline = ((test_digits / 255.0 - mean) ** 2).mean()
    assert model.reconstruction_error(test_digits).mean() < 0.6 * baseline
    assert set(history) >= {"loss", "mse", "val_loss", "val_mse"}
    assert {f"val_{key}" for key in history if not key.startswith("val_")} <= set(history)
    assert 0 < history["mse"][-1] < 1


def test_another_loss_is_reported_beside_mse(name, digits):
    history = train(small(name, loss="binary_crossentropy"), digits[:32])
    assert history["loss"][0] != pytest.approx(history["mse"][0], rel=0.01)
    assert 0 < history["mse"][0] < 1


@pytest.mark.parametrize("many", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_saved_models_are_the_same_in_a_fresh_process_and_go_on(many, saved_models):
    """All of the zoo in the slower set; a net, one with draws and a closed form in the fast one."""
    names = MODELS if many else SAVED
    script = """if True:
        import pathlib, sys, keras, numpy as np, aezoo
        for name in sys.argv[2:]:
            path = pathlib.Path(sys.argv[1], name + ".keras")
            model = aezoo.load_model(path)
            data = np.load(path.with_suffix(".npz"))
            # the same program on the same batch
            np.testing.assert_array_equal(model.reconstruct(data["x"]), data["y"], str(path))
            assert model.code_size is None or type(model.encoder).__name__ == "PixelModel"
            closed = isinstance(model, aezoo.ClosedForm)
            assert model.sums.samples == 128 if closed else model.optimizer.iterations == 4
            go_on = model.fine_tune if closed else model.fit
            model.run_eagerly = keras.backend.backend() == "tensorflow"
            errors = go_on(data["x"], epochs=8, verbose=0).history["mse"]
            assert min(errors[-4:]) < errors[0], path
            print(path)
    """
    folder = saved_models(names)
    done = run_python("-c", script, folder, *names)  # one, as it takes long to start
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(names)


def test_encoder_alone_saves_loads_and_keeps_the_pixel_rule(coded, digits, tmp_path):
    model = coded
    model.encoder.save(tmp_path / "encoder.keras")
    encoder = keras.saving.load_model(tmp_path / "encoder.keras")
    codes = encoder.predict(digits[:70], verbose=0)
    np.testing.assert_allclose(codes, model.encode(digits[:70]), rtol=0, atol=ROUNDING)


def test_weights_by_path(name, tmp_path):
    model = small(name)
    model.set_weights([w + 0.1 for w in model.get_weights()])
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    for file in ("m.keras", "m.weights.h5"):
        other = small(name, weights=tmp_path / file)
        for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)
    with pytest.raises(FileNotFoundError, match="Received"):
        small(name, weights=tmp_path / "none.keras")
    with pytest.raises(ValueError, match=r"weights.*Received: 'no-such-tag'"):
        small(name, weights="no-such-tag")
    (tmp_path / "broken.weights.h5").write_bytes(b"broken")
    with pytest.raises(ValueError, match="must be a whole file that fits"):
        small(name, weights=tmp_path / "broken.weights.h5")


def test_seed_fixes_the_weights_and_leaves_the_global_state_alone(name, model):
    keras.utils.set_random_seed(3)
    expected = to_numpy(keras.random.normal((2,)))
    keras.utils.set_random_seed(3)
    one, two, other = (
        model.get_weights(),
        small(name).get_weights(),
        small(name, seed=1).get_weights(),
    )
    np.testing.assert_array_equal(to_numpy(keras.random.normal((2,))), expected)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(one, other, strict=True))
    kernels = [w for w in one if w.ndim > 1 and w.any()]
    same = [
        (a == b).all() for i, a in enumerate(kernels) for b in kernels[:i] if a.shape == b.shape
    ]
    assert not any(same)


@pytest.mark.parametrize("name", quick_for(REPRESENTATIVE))
def test_set_random_seed_repeats_a_whole_training(name, digits):
    trained, compiled = [], name in FOUR_WAYS
    for _ in range(2):
        keras.utils.set_random_seed(5)
        model = small(name, seed=None)
        train(model, digits[:64], epochs=2 if compiled else 1, step_by_step=not compiled)
        trained.append(model.get_weights())
    for one, two in zip(*trained, strict=True):
        np.testing.assert_array_equal(one, two)


def test_optimizer_given_is_copied(name):
    optimizer = keras.optimizers.SGD(0.5)
    one = small(name, optimizer=optimizer)
    two = small(name, optimizer=optimizer, learning_rate=0.125)
    assert len({id(model.optimizer) for model in (one, two)} - {id(optimizer)}) == 2
    assert float(one.optimizer.learning_rate) == 0.5
    assert float(two.optimizer.learning_rate) == 0.125


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": ()}, "`input_shape`"),
        ({"input_shape": (0, 8, 1)}, "`input_shape`"),
        ({"input_shape": (8.5, 8, 1)}, "`input_shape`"),
        ({"input_shape": "mnist"}, "`input_shape`"),
        ({"latent_dim": 0}, "`latent_dim`"),
        ({"latent_dim": -3}, "`latent_dim`"),
        ({"latent_dim": 2.5}, "`latent_dim`"),
        ({"optimizer": 3}, "`optimizer`"),
        ({"optimizer": "adamm"}, "`optimizer`"),
        ({"loss": "msee"}, "`loss`"),
        ({"learning_rate": -1.0}, "`learning_rate`"),
        ({"jit_compile": "yes"}, "`jit_compile`"),
        ({"seed": -1}, "`seed`"),
        ({"seed": 0.5}, "`seed`"),
        ({"output_activation": "sigmoidd"}, "`output_activation`"),
        ({"weights": "mnits"}, "`weights`"),
    ],
)
def test_wrong_arguments_are_named(name, arguments, message):
    if "latent_dim" in arguments and not has_latent_dim(name):
        return
    with pytest.raises(ValueError, match=f"{message}.*Received: "):
        aezoo.create(name, **{"input_shape": (8, 8, 1), **arguments})


SHAPES = st.one_of(
    st.tuples(st.integers(1, 40)),
    st.tuples(st.integers(1, 33), st.integers(1, 4)),
    st.tuples(st.integers(1, 21), st.integers(1, 21), st.integers(1, 4)),
)


def test_odd_shapes_train(name):
    train_on(name, (7, 5, 3))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=20, deadline=None)
@given(shape=SHAPES)
def test_many_shapes_train(name, shape):
    train_on(name, shape)


def train_on(name, shape):
    try:
        model = small(name, shape, 3, seed=None)
    except ValueError as error:
        assert "`input_shape`" in str(error)  # noqa: PT017  a family may ask for images
        assert len(shape) < 3
        return
    x = np.random.default_rng(0).random((6, *shape), "float32")
    before = model.get_weights()
    history = train(model, x, batch_size=3)
    assert np.isfinite(history["loss"][0])
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    assert model.reconstruct(x).shape == x.shape
