"""Encoders at work: features, heads on copies, probes, label curves."""

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import aezoo
from aezoo import transfer
from aezoo.cli.app import app
from tests.conftest import small

# codes of other batches differ in their last digits, which may decide a class on the edge
ONE_OF_360 = 1.01 / 360


@pytest.fixture(scope="module")
def trained(labelled):
    model = small("conv_ae", latent_dim=16)
    model.fit(labelled[0], epochs=8, batch_size=64, verbose=0)
    return model


def test_features_are_one_vector_a_sample(labelled):
    x = labelled[0][:70]
    for name, size in {"conv_ae": 4, "masked_ae": 32, "vq_vae": 16, "patch_ae": 120}.items():
        assert transfer.features(small(name), x).shape == (70, size)
    model = small("vq_vae")
    codes = model.encode(x)
    for pooling, expected in {
        None: codes.mean((1, 2)),
        "mean": codes.mean((1, 2)),
        "max": codes.max((1, 2)),
        "flatten": codes.reshape(70, -1),
    }.items():
        found = transfer.features(model, x, pooling=pooling)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_features_of_datasets_encoders_layers_and_plain_keras_models(trained, labelled):
    import tensorflow as tf

    x, y = labelled[0][:70], labelled[1][:70]
    expected = trained.encode(x)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(32)
    for model, data in ((trained, dataset), (trained.encoder, x), (trained, x / 255.0)):
        np.testing.assert_allclose(transfer.features(model, data), expected, atol=1e-5)
    inner = transfer.layer_features(trained, "down_0_activation")
    assert inner.output_shape == (None, 4, 4, 16)
    assert transfer.features(inner, x).shape == (70, 16)
    with pytest.raises(ValueError, match=r"`name` must be a layer.*down_0.*Received: 'down'"):
        transfer.layer_features(trained, "down")
    plain = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    np.testing.assert_allclose(transfer.features(plain, x)[:, 9], x[:, 1, 1, 0] / 255.0, rtol=1e-6)
    with pytest.raises(ValueError, match="one input"):
        transfer.features(small("vae", num_classes=10), x)
    with pytest.raises(ValueError, match="shape"):
        transfer.features(trained, x[:, :7])


@pytest.mark.parametrize(
    "name",
    ["vae", *(pytest.param(n, marks=pytest.mark.slow) for n in ("conv_ae", "masked_ae", "vq_vae"))],
)
def test_a_head_sits_on_a_copy(name, labelled, tmp_path):
    x, y = labelled[0][:128], labelled[1][:128]
    model = small(name)
    before = model.get_weights()
    classifier = transfer.classifier(model, 10, hidden_units=(8,), dropout=0.1, seed=0)
    frozen = classifier.get_layer("encoder").get_weights()
    history = classifier.fit(x, y, epochs=2, verbose=0).history
    assert set(history) == {"loss", "accuracy"}
    for one, two in zip(frozen, classifier.get_layer("encoder").get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not classifier.losses
    assert type(model.encoder.layers[1]) is type(classifier.get_layer("encoder").layers[1])
    transfer.unfreeze(classifier).fit(x, y, verbose=0)
    after = classifier.get_layer("encoder").get_weights()
    assert any((one != two).any() for one, two in zip(frozen, after, strict=True))
    for one, two in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert model.trainable
    assert model.encoder.trainable
    assert model.encoder.name == "encoder"
    probabilities = classifier.predict(x, verbose=0)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    scaled = classifier.predict(x / np.float32(255), verbose=0)
    np.testing.assert_allclose(probabilities, scaled, atol=1e-5)
    classifier.save(tmp_path / "classifier.keras")
    loaded = keras.saving.load_model(tmp_path / "classifier.keras")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), probabilities)


def test_unfreeze_takes_all_some_or_named_layers(trained):
    classifier = transfer.classifier(trained, 10, learning_rate=0.01)
    assert len(classifier.trainable_weights) == 2
    transfer.unfreeze(classifier, 1)
    assert float(classifier.optimizer.learning_rate) == pytest.approx(1e-4)
    assert [w.path for w in classifier.trainable_weights][:2] == [
        "code_projection/kernel",
        "code_projection/bias",
    ]
    transfer.unfreeze(classifier, ["down_0"], learning_rate=0.5)
    assert len(classifier.trainable_weights) == 3
    transfer.unfreeze(classifier)
    assert len(classifier.trainable_weights) == 6
    transfer.unfreeze(classifier, batch_normalization=True)
    assert len(classifier.trainable_weights) == 10
    with pytest.raises(ValueError, match=r"`layers` must be names.*did you mean"):
        transfer.unfreeze(classifier, ["down"])
    for model in (trained, keras.Sequential([keras.layers.Dense(2)])):
        with pytest.raises(ValueError, match="classifier or regressor"):
            transfer.unfreeze(model)


def test_unfreeze_under_a_scaled_loss(labelled):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        encoder = aezoo.dense_ae((8, 8, 1), 4, hidden_units=(16,), seed=0)
        classifier = transfer.classifier(encoder, 10, learning_rate=0.01, seed=0)
        classifier.fit(*labelled, verbose=0)
        transfer.unfreeze(classifier, learning_rate=0.001)
        assert float(classifier.optimizer.learning_rate) == pytest.approx(0.001)
        loss = classifier.evaluate(*labelled, verbose=0)[0]
        assert classifier.fit(*labelled, verbose=0).history["loss"][0] < loss
    finally:
        keras.config.set_dtype_policy("float32")


def test_frozen_batch_normalisation_keeps_its_statistics(trained, labelled):
    classifier = transfer.unfreeze(transfer.classifier(trained, 10))
    layer = classifier.get_layer("encoder").get_layer("down_0_normalisation")
    before = layer.get_weights()
    classifier.fit(labelled[0][:64], labelled[1][:64], verbose=0)
    for one, two in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_regressor_learns_a_number(trained, labelled):
    x = labelled[0]
    ink = (x / 255.0).mean((1, 2, 3))
    regressor = transfer.regressor(trained, hidden_units=(32,), learning_rate=0.01, seed=0)
    regressor.fit(x, ink, epochs=30, verbose=0)
    error = np.square(regressor.predict(x, verbose=0)[:, 0] - ink).mean()
    assert error < 0.5 * ink.var()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "`num_classes`"),
        ({"num_classes": 2.5}, "`num_classes`"),
        ({"hidden_units": (0,)}, "`hidden_units`"),
        ({"pooling": "average"}, "`pooling`"),
        ({"dropout": 1.0}, "`dropout`"),
        ({"optimizer": "adamm"}, "`optimizer`"),
    ],
)
def test_wrong_arguments_are_named(trained, arguments, message):
    with pytest.raises(ValueError, match=f"{message}.*Received: "):
        transfer.classifier(trained, **{"num_classes": 10, **arguments})


def test_probes_find_what_the_code_holds(trained, labelled, tested):
    linear = transfer.linear_probe(trained, labelled, tested)
    assert linear.accuracy > 0.88
    assert linear.regularization in (0.001, 0.01, 0.1, 1.0, 10.0)
    neighbours = transfer.knn(trained, labelled, tested, neighbors=3)
    assert neighbours.accuracy > 0.9
    again = transfer.linear_probe(trained, "digits", "digits")
    assert again.accuracy == pytest.approx(linear.accuracy, abs=ONE_OF_360)
    shuffled = aezoo.data.load("digits", labels=True, seed=1)
    assert abs(transfer.knn(trained, shuffled, tested, neighbors=3).accuracy
               - neighbours.accuracy) < 0.01  # fmt: skip
    with pytest.raises(ValueError, match="hold labels"):
        transfer.linear_probe(trained, aezoo.data.load("digits"), tested)
    with pytest.raises(ValueError, match="without labels"):
        transfer.linear_probe(trained, labelled[0], tested)
    with pytest.raises(ValueError, match="one integer per sample"):
        transfer.knn(trained, (labelled[0], labelled[1][:5]), tested)


def test_label_curve_compares_five_ways(trained, labelled, tested, tmp_path):
    seen = []
    curve = transfer.label_curve(
        trained, labelled, tested, (3, 20), seeds=2, steps=40, progress=seen.append
    )
    found = {(row["method"], row["labels_per_class"]): row["accuracy"] for row in curve.rows}
    assert len(found) == 10
    baselines = ("PCA, linear probe", "raw pixels, linear probe")
    for method in ("linear probe", "fine-tuned", "random weights", *baselines):
        assert found[method, 20] > found[method, 3] > 0.3
    assert found["fine-tuned", 20] > found["random weights", 20] - 0.03
    assert found["fine-tuned", 20] > 0.85
    assert "fine-tuned" in str(curve)
    assert len(seen) == 5
    curve.figure().savefig(tmp_path / "curve.png")
    with pytest.raises(ValueError, match="smallest class"):
        transfer.label_curve(trained, labelled, tested, (1000,))
    few = tuple(part[labelled[1] < 9] for part in labelled)
    with pytest.raises(ValueError, match=r"`test` must have labels of `train`.*Received: 9"):
        transfer.label_curve(trained, few, tested, (3,))


def test_two_classes_start_from_the_probe(trained, labelled, tested):
    def pair(data):
        chosen = data[1] < 2
        return data[0][chosen], data[1][chosen]

    curve = transfer.label_curve(trained, pair(labelled), pair(tested), 10, seeds=1, steps=1)
    found = {row["method"]: row["accuracy"] for row in curve.rows}
    assert found["fine-tuned"] > 0.95


def test_command_line(tmp_path):
    model = small("conv_ae")
    aezoo.train(model, "digits", 1, tmp_path / "run", verbose=False)
    command = ["transfer", str(tmp_path / "run"), "--labels-per-class", "5", "--seeds", "1"]
    done = CliRunner().invoke(app, [*command, "--steps", "3"], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    for text in ("linear probe", "nearest neighbours", "PCA", "random weights"):
        assert text in done.stdout
    assert (tmp_path / "run" / "transfer.json").is_file()
    assert (tmp_path / "run" / "label_curve.png").is_file()
