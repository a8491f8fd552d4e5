"""The baselines beside a model are the best of their kind, and are what they are called."""

import json

import numpy as np
import pytest

import aezoo
from aezoo import transfer
from aezoo.cli.train import _print_metrics
from aezoo.cli.transfer import run_transfer
from aezoo.model_classes.reconstruction_model import VALIDATION_SEED
from aezoo.training.baselines import Baselines, measure, picture
from aezoo.transfer._label_curve import _draw, _set_head, pca
from aezoo.transfer._probes import _logistic, probe
from tests.conftest import small


def plain_pca(x, size):
    """Mean and the leading directions (features, size)."""
    mean = x.mean(0)
    return mean, np.linalg.svd(x - mean, full_matrices=False)[2][:size].T


def corrupted(model, x, seed):
    pairs = [pair[0] for pair in model._corrupted_pairs(x, seed)]
    return np.concatenate([np.asarray(part) for part in pairs]).reshape(len(x), -1)


def test_affine_baselines_are_ridge_regression_and_its_reduced_rank(digits, test_digits):
    model = small("denoising_ae", level=0.5)  # a code of 4
    found = measure(model, test_digits, Baselines(model, digits))
    y, test_y = (part.reshape(len(part), -1) / 255 for part in (digits, test_digits))
    x = corrupted(model, digits, VALIDATION_SEED + 1).astype("float64")
    test_x = corrupted(model, test_digits, VALIDATION_SEED).astype("float64")
    centred, mean = x - x.mean(0), y.mean(0)
    products = centred.T @ centred + 1e-3 * len(x) * np.eye(64)
    kernel = np.linalg.solve(products, centred.T @ (y - mean))
    directions = plain_pca(centred @ kernel, 4)[1]
    clean_mean, components = plain_pca(y, 4)
    full = (test_x - x.mean(0)) @ kernel
    expected = {
        "noisy": test_x,
        "pca": clean_mean + (test_x - clean_mean) @ components @ components.T,
        "affine": mean + full,
        "affine_rank": mean + full @ directions @ directions.T,
    }
    for name, output in expected.items():
        error = np.square(np.clip(output, 0, 1) - test_y).mean()
        assert found[name]["mse"] == pytest.approx(error, rel=1e-3), name
        assert found[name]["psnr"] == pytest.approx(-10 * np.log10(error), abs=0.01)
    assert found["affine"]["mse"] < found["affine_rank"]["mse"] < found["pca"]["mse"]
    assert found["affine_rank"]["latent_dim"] == found["pca"]["latent_dim"] == 4
    assert "latent_dim" not in found["affine"]


def test_only_a_denoising_model_has_affine_baselines(digits):
    found = measure(small("dense_ae"), digits, Baselines(small("dense_ae"), digits))
    assert "pca" in found
    assert not {"affine", "affine_rank", "noisy"} & set(found)


@pytest.mark.parametrize(
    ("activation", "low", "high"), [("tanh", -1, 1), ("relu", 0, np.inf), (None, -np.inf, np.inf)]
)
def test_baselines_keep_to_the_range_of_the_decoder(activation, low, high):
    x = np.random.default_rng(0).standard_normal((200, 6)).astype("float32")
    x = np.clip(x, low, high)
    model = aezoo.dense_ae((6,), 2, hidden_units=(), output_activation=activation, seed=0)
    mean, components = plain_pca(x, 2)
    output = mean + (x - mean) @ components @ components.T
    assert (activation is None) == bool((output == np.clip(output, low, high)).all())
    (found,) = Baselines(model, x).reconstruct(x).values()
    np.testing.assert_allclose(found, np.clip(output, low, high), atol=1e-5)


@pytest.mark.parametrize(("name", "label"), [("denoising_ae", "affine, rank 4"),
                                             ("dense_ae", "PCA 4")])  # fmt: skip
def test_the_picture_shows_the_rival_of_the_model(name, label, digits):
    model = small(name)
    figure = picture(model, digits[:20], Baselines(model, digits))
    texts = [text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text"))]
    assert label in texts
    assert ("PCA 4" in texts) == (name == "dense_ae")


def test_the_report_card_has_affine_maps_beside_a_denoising_model(digits, test_digits):
    model = small("denoising_ae", level=0.5)
    card = aezoo.evaluate(model, test_digits, train=digits, noise_levels=(), verbose=False)
    found = measure(model, test_digits, Baselines(model, digits))
    figures = card["denoising_ae"]
    for key, name in (("affine", "affine"), ("affine_rank", "affine_rank")):
        assert figures[f"corrupted_{key}_mse"] == pytest.approx(found[name]["mse"], rel=1e-4)
    assert figures["corrupted_mse"] == pytest.approx(found["mse"], rel=1e-4)
    assert card["PCA 4"]["corrupted_mse"] == pytest.approx(found["pca"]["mse"], rel=1e-3)
    labels = [row.label for row in card.rows()["Reconstruction"]]
    assert "best affine map of the code's rank, corrupted inputs" in labels
    assert "best affine map, corrupted inputs" in labels


def test_pca_of_the_report_card_keeps_to_the_range_of_its_rivals():
    x = np.clip(np.random.default_rng(0).standard_normal((200, 6)), -1, 1).astype("float32")
    models = {
        activation: aezoo.dense_ae((6,), 2, hidden_units=(), output_activation=activation)
        for activation in ("tanh", "linear")
    }
    mean, components = plain_pca(x, 2)
    output = mean + (x - mean) @ components @ components.T
    for names, expected in ((["tanh"], np.clip(output, -1, 1)), (["tanh", "linear"], output)):
        chosen = {name: models[name] for name in names}
        card = aezoo.evaluate(chosen, x, train=x, noise_levels=(), verbose=False)
        error = np.square(expected - x).mean()
        assert card["PCA 2"]["mse"] == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize(("scale", "shown"), [(1, True), (3, False)])
def test_psnr_is_only_of_data_in_the_unit_range(scale, shown, capsys, monkeypatch):
    import tensorflow as tf

    monkeypatch.setenv("COLUMNS", "120")
    x = scale * np.random.default_rng(0).random((64, 6)).astype("float32")
    model = aezoo.dense_ae((6,), 2, hidden_units=(), output_activation=None, seed=0)
    data = tf.data.Dataset.from_tensor_slices(x).batch(32)
    run = aezoo.train(model, data, 1, verbose=False)
    _print_metrics(run)
    assert ("PSNR" in capsys.readouterr().out) == shown
    assert ("psnr" in run.metrics) == ("psnr" in run.metrics["pca"]) == shown


def test_label_curve_has_raw_pixels_and_sample_deviations_none_of_one_draw(labelled, tested):
    few = [(x[:300], y[:300]) for x, y in (labelled, tested)]
    one, two = (
        transfer.label_curve(small("dense_ae"), *few, (2,), seeds, steps=1) for seeds in (1, 2)
    )
    first, both = one.rows[0]["accuracy"], two.rows[0]["accuracy"]
    second = 2 * both - first
    assert two.rows[0]["spread"] == pytest.approx(np.std([first, second], ddof=1))
    assert two.rows[0]["spread"] > 0
    assert one.rows[0]["spread"] is None
    assert "±" in str(two)
    assert "±" not in str(one)
    assert len(one.figure().axes) == 1
    (x, y), (test_x, test_y) = few
    flat, chosen = [part.reshape(len(part), -1) / 255 for part in (x, test_x)], _draw(y, 2, 0)
    expected = probe(flat[0][chosen], y[chosen], flat[1], test_y).accuracy
    assert one.rows[0]["method"] == "raw pixels, linear probe"
    assert one.rows[0]["accuracy"] == pytest.approx(expected, abs=0.01)
    for values, spread in (([0.2], None), ([0.1, 0.2, 0.3], 0.1)):
        runs = [{"model": "a", "seed": seed, "mse": mse} for seed, mse in enumerate(values)]
        comparison = aezoo.Comparison(runs, 1, "data")
        assert comparison.rows[0]["mse"]["spread"] == (spread and pytest.approx(spread))
        assert ("±" in str(comparison)) == (spread is not None)


def test_few_labels_are_probed_in_one_common_scale(labelled, tested):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    (x, y), (test_x, test_y) = labelled, tested
    codes, test_codes = pca(x, test_x, 40)
    mine, standardised = [], []
    for seed in range(5):
        chosen = _draw(y, 1, seed)
        found = probe(codes[chosen], y[chosen], test_codes, test_y)
        few = codes[chosen].astype("float64")
        scale = np.sqrt(few.var(0).mean())
        regression = LogisticRegression(max_iter=1000).fit((few - few.mean(0)) / scale, y[chosen])
        expected = regression.score((test_codes - few.mean(0)) / scale, test_y)
        assert found.accuracy == pytest.approx(expected, abs=0.006)
        assert found.regularization == 1
        mine.append(found.accuracy)
        scaler = StandardScaler().fit(few)
        regression = LogisticRegression(max_iter=1000).fit(scaler.transform(few), y[chosen])
        standardised.append(regression.score(scaler.transform(test_codes), test_y))
    assert np.mean(mine) > np.mean(standardised) + 0.05


def test_the_scaling_is_chosen_for_the_data():
    generator = np.random.default_rng(0)
    y = np.arange(600) % 2
    noise = generator.standard_normal((600, 20))
    signal = (2 * y - 1) * 0.7
    weak = noise * np.geomspace(1e3, 1e-3, 20)
    weak[:, -1] += 1e-3 * 3 * signal  # the classes differ along the weakest direction
    strong = noise * 0.3
    strong[:, 0] = 3 * signal + generator.standard_normal(600)
    for x, common in ((weak, False), (strong, True)):
        found = probe(x[:400], y[:400], x[400:], y[400:])
        scales = found.classifier[0].scale_
        assert (np.ptp(scales) < 1e-9 * scales.max()) == common
        assert found.accuracy > 0.9


@pytest.mark.parametrize("number", [1, 20])
def test_fine_tuning_starts_as_the_probe_in_either_scaling(number, labelled, tested):
    (x, y), encoder = labelled, small("dense_ae", latent_dim=16).encoder
    network = transfer.classifier(encoder, 10, seed=0)
    for common in (True, False):
        chosen = _draw(y, number, 0)
        fitted = _logistic(encoder.predict(x[chosen]), y[chosen], common, 1.0, 1000)
        _set_head(network, fitted)
        expected = fitted.predict_proba(encoder.predict(tested[0]))
        np.testing.assert_allclose(network.predict(tested[0], verbose=0), expected, atol=1e-4)


def batches_of_training(model, monkeypatch, labelled, tested, **options):
    """What fine-tuning and random weights were trained on, a batch per step."""
    seen, kind = [], type(transfer.classifier(model, 10))
    train_on_batch = kind.train_on_batch

    def record(self, x, y):
        seen.append(np.asarray(x))
        return train_on_batch(self, x, y)

    monkeypatch.setattr(kind, "train_on_batch", record)
    test = (tested[0][:50], tested[1][:50])
    transfer.label_curve(model, labelled, test, (2,), 1, steps=2, **options)
    monkeypatch.undo()
    return seen


def test_random_weights_learn_from_the_copies_that_pretraining_had(monkeypatch, labelled, tested):
    model = small("denoising_ae", corruption="affine", level=0.3)
    moved = batches_of_training(model, monkeypatch, labelled, tested)
    given = batches_of_training(model.encoder, monkeypatch, labelled, tested, augment=0.3)
    still = batches_of_training(small("denoising_ae"), monkeypatch, labelled, tested)
    assert len(moved) == len(given) == len(still) == 4  # two steps of either method
    for steps in (moved[:2], moved[2:]):  # all 20 samples, other copies of them in each step
        sums = [np.sort(x.sum((1, 2, 3))) for x in steps]
        assert np.abs(sums[0] - sums[1]).max() > 0.01
    for fine_tuned, random in zip(moved[:2], moved[2:], strict=True):
        np.testing.assert_allclose(fine_tuned, random, atol=1e-6)
    for x, same in zip(moved, given, strict=True):
        assert x.shape == (20, 8, 8, 1)
        assert 0 <= x.min() < x.max() <= 1
        np.testing.assert_allclose(x, same, atol=1e-6)
    pictures = {image.tobytes() for image in labelled[0]}
    assert all(image.tobytes() in pictures for x in still for image in x)


@pytest.mark.parametrize("augment", [-0.1, "much", 11, True])
def test_a_wrong_augment_is_named(augment, labelled, tested):
    with pytest.raises(ValueError, match=r"`augment` must be .*Received: "):
        transfer.label_curve(small("dense_ae"), labelled, tested, (2,), 1, augment=augment)


def test_only_images_are_moved():
    x, y = np.random.default_rng(0).random((20, 6)).astype("float32"), np.arange(20) % 2
    with pytest.raises(ValueError, match=r"`augment` must be 0 or None.*Received: 0.1 for"):
        transfer.label_curve(small("pca_ae", (6,), 2), (x, y), (x, y), (2,), 1, augment=0.1)


def test_the_command_moves_as_the_run_did(tmp_path, monkeypatch):
    seen = []

    def label_curve(*arguments, augment=None, **options):
        seen.append(augment)
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer, "label_curve", label_curve)
    aezoo.train(small("dense_ae"), "digits", 1, tmp_path, limit=64, augment=0.05, verbose=False)
    config = json.loads((tmp_path / "config.json").read_text())
    for level, expected in ((0.05, 0.05), (0.0, None)):
        config["training"]["augment"] = level
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(KeyboardInterrupt):
            run_transfer(tmp_path, None, "2", 1, 1, None, 100, None, None)
        assert seen.pop() == expected
