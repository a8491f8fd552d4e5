"""The baselines beside a model are the best of their kind, and are what they are called."""

import json

import numpy as np
import pytest

import aezoo
from aezoo import transfer
from aezoo._autoencoder import VALIDATION_SEED
from aezoo._report import Baselines, measure, picture
from aezoo._train_command import _print_metrics
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
def test_psnr_is_only_of_data_in_the_unit_range(scale, shown, tmp_path, capsys, monkeypatch):
    import tensorflow as tf

    monkeypatch.setenv("COLUMNS", "120")
    x = scale * np.random.default_rng(0).random((64, 6)).astype("float32")
    model = aezoo.dense_ae((6,), 2, hidden_units=(), output_activation=None, seed=0)
    data = tf.data.Dataset.from_tensor_slices(x).batch(32)
    run = aezoo.train(model, data, 1, tmp_path / "run", verbose=False)
    _print_metrics(run)
    assert ("PSNR" in capsys.readouterr().out) == shown
    written = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert ("psnr" in written) == ("psnr" in written["pca"]) == shown
    card = aezoo.evaluate(model, x, train=x, noise_levels=(), verbose=False)
    assert ("psnr" in card["dense_ae"]) == ("PSNR" in str(card)) == shown
    found = aezoo.compare({"a": lambda seed: small("pca_ae", (6,), 2, seed)}, x, minutes=0.01,
                          seeds=1, verbose=False)  # fmt: skip
    assert all(("psnr" in run) == shown for run in found.runs)


def test_spreads_are_sample_deviations_which_one_draw_does_not_have(labelled, tested):
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
    for values, spread in (([0.2], None), ([0.1, 0.2, 0.3], 0.1)):
        runs = [{"model": "a", "seed": seed, "mse": mse} for seed, mse in enumerate(values)]
        comparison = aezoo.Comparison(runs, 1, "data")
        assert comparison.rows[0]["mse"]["spread"] == (spread and pytest.approx(spread))
        assert ("±" in str(comparison)) == (spread is not None)
