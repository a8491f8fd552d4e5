"""Bad data stops `fit` before the first step, with a sentence that says what arrived."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import aezoo


@pytest.fixture
def model():
    model = aezoo.dense_ae((8, 8, 1), 4, hidden_units=(16,), seed=0)
    model.run_eagerly = True  # a few steps, or none
    return model


@pytest.fixture
def x():
    return np.random.default_rng(0).random((50, 8, 8, 1)).astype("float32")


def as_dataset(x):
    return tf.data.Dataset.from_tensor_slices(x).batch(16)


@pytest.mark.parametrize("wrap", [lambda x: x, as_dataset], ids=["array", "dataset"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * 255, r"lie in \[0, 1\].*divide pixels by 255.*Received: values from"),
        (lambda x: x - 2, r"lie in \[0, 1\].*output_activation.*Received: values from -"),
        (lambda x: x[..., 0], r"shape \(samples, 8, 8, 1\); add the channel.*\[..., None\]"),
        (lambda x: x[:, :5], r"shape \(samples, 8, 8, 1\)\. Received: "),
        (lambda x: (x * 9).astype("int64"), "uint8 or uint16.*Received: dtype int64"),
    ],
)
def test_what_cannot_be_right_is_refused(model, x, wrap, change, message):
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.fit(wrap(change(x)), verbose=0)
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_sample_that_is_not_finite_is_named(model, x, value):
    x[33, 2, 5, 0] = value
    with pytest.raises(ValueError, match=r"finite.*sample 33 at position \(2, 5, 0\)"):
        model.fit(x, verbose=0)


def test_nan_in_a_later_batch_of_a_dataset_is_named_when_it_comes(model, x):
    x[40, 0, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"finite.*Received: NaN or infinity in batch 2"):
        model.fit(as_dataset(x), verbose=0)
    with pytest.raises(ValueError, match="batch 2"):
        model.fit(as_dataset(x[:16]), validation_data=as_dataset(x), verbose=0)


def test_no_samples(model, x):
    with pytest.raises(ValueError, match=r"at least one sample.*Received: \(0, 8, 8, 1\)"):
        model.fit(x[:0], verbose=0)
    with pytest.raises(ValueError, match="at least one batch"):
        model.fit(as_dataset(x).take(0), verbose=0)
    with pytest.raises(ValueError, match="Received: None"):
        model.fit(None, verbose=0)


def test_one_sample_alone_gets_a_hint(model, x):
    with pytest.raises(ValueError, match=r"x\[None\]"):
        model.encode(x[0])


def test_targets_must_fit_the_inputs_and_the_decoder(model, x):
    with pytest.raises(
        ValueError, match=r"the same number of samples as the inputs, 50. Received: 20"
    ):
        model.fit(x, x[:20], verbose=0)
    with pytest.raises(ValueError, match=r"Targets must lie in \[0, 1\]"):
        model.fit(x, x * 7, verbose=0)
    model.fit(x * 7, x, verbose=0)  # inputs may have any range where targets are given


def test_tanh_and_linear_decoders_have_their_own_range(x):
    tanh = aezoo.dense_ae((8, 8, 1), 4, hidden_units=(16,), output_activation="tanh")
    tanh.fit(x * 2 - 1, verbose=0)
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        tanh.fit(x * 3, verbose=0)
    aezoo.dense_ae((8, 8, 1), 4, hidden_units=(16,), output_activation=None).fit(
        x * 300 - 9, verbose=0
    )


def test_the_range_is_known_after_loading(x, tmp_path, model):
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        aezoo.load_model(tmp_path / "m.keras").fit(x * 255, verbose=0)


def test_validation_data_are_checked_too(model, x):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        model.fit(x, validation_data=x * 255, verbose=0)
    with pytest.raises(ValueError, match="drop the labels"):
        model.fit(x, validation_data=(x, np.arange(50)), verbose=0)
    with pytest.raises(ValueError, match="drop the labels"):
        model.evaluate(x, np.arange(50), verbose=0)


def test_other_inputs_of_keras_work(model, x):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return (x[i * 16 : i * 16 + 16],)

    model.fit(Batches(), verbose=0)
    model.fit(x.tolist(), verbose=0)
    model.fit((x[i : i + 10],) for i in range(0, 50, 10))
    assert model.optimizer.iterations >= 3 + 2 + 5  # Keras itself repeats the first batch
    assert model.encode(Batches()).shape == (48, 4)
    assert model.reconstruction_error(Batches()).shape == (48,)


def test_sample_weights_and_validation_split_work(model, x):
    history = model.fit(
        x, sample_weight=np.ones(50), validation_split=0.2, epochs=1, verbose=0
    ).history
    assert set(history) == {"loss", "mse", "val_loss", "val_mse"}


def test_pixels_of_16_bits_are_finite_in_half_precision():
    from aezoo.inputs.pixels import scale_pixels

    pixels = keras.ops.convert_to_tensor(np.array([0, 257, 65535], "uint16"))
    found = np.asarray(scale_pixels(pixels, "float16"))
    np.testing.assert_allclose(found, [0, 1 / 255, 1], rtol=1e-3)
