"""What `unet_ae` promises: a denoiser without a code, a full member of the zoo."""

import json

import numpy as np
import pytest

import aezoo
from aezoo.inputs.arrays import to_numpy
from tests.conftest import small


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on noisy digits, and its folder."""
    model = small("unet_ae", filters=(16, 32), level=0.3, learning_rate=0.003)
    out = tmp_path_factory.mktemp("unet") / "run"
    return aezoo.train(model, "digits", epochs=30, out=out, seed=0, verbose=False)


def test_begins_as_the_identity(digits):
    found = small("unet_ae").reconstruct(digits[:9])
    np.testing.assert_allclose(found, digits[:9] / 255, rtol=0, atol=2**-23)


def test_denoises_better_than_the_best_affine_map(trained):
    metrics = trained.metrics
    assert metrics["mse"] < 0.9 * metrics["affine"]["mse"]
    assert metrics["affine"]["mse"] < 0.5 * metrics["noisy"]["mse"]


def test_the_run_says_that_there_is_no_code_and_so_no_pca(trained, capsys, monkeypatch):
    from aezoo.cli.train import _print_metrics

    assert trained.metrics["pca"] == {"latent_dim": None, "why": "unet_ae has no code"}
    assert "affine_rank" not in trained.metrics
    assert json.loads((trained.folder / "metrics.json").read_text())["pca"]["latent_dim"] is None
    monkeypatch.setenv("COLUMNS", "120")
    _print_metrics(trained)
    assert "no PCA: unet_ae has no code" in capsys.readouterr().out


def test_the_report_card_has_the_best_affine_map_beside_it(trained, digits, test_digits):
    models = {"unet": trained.model, "dense": small("dense_ae")}
    card = aezoo.evaluate(models, test_digits, train=digits, verbose=False)
    assert list(card.columns) == ["unet", "dense", "PCA 4"]
    figures = card["unet"]
    assert figures["corrupted_mse"] < 0.9 * figures["corrupted_affine_mse"]
    assert not {"code_size", "linear_probe", "encode_per_second"} & set(figures)
    assert "for models without a code: unet" in " ".join(str(card).split())
    assert "for models without a code: unet" in card.to_html()
    alone = aezoo.evaluate(trained.model, test_digits, train=digits, verbose=False)
    assert list(alone.columns) == ["unet_ae"]
    assert alone.pictures()


def test_a_comparison_takes_it(labelled):
    makers = {
        "unet": lambda seed: small("unet_ae", seed=seed),
        "dense": lambda seed: small("dense_ae", seed=seed),
    }
    x, y = labelled
    found = aezoo.compare(makers, x, y, minutes=0.01, seeds=1, verbose=False)
    rows = {row["model"]: row for row in found.rows}
    assert list(rows) == ["unet", "dense", "PCA 4"]
    assert "code_size" not in rows["unet"]
    assert "code_size" in rows["dense"]


@pytest.mark.parametrize("shape", [(7, 5, 3), (1, 1, 1), (13, 2), (64, 1)])
def test_any_sizes(shape):
    model = small("unet_ae", shape, filters=(4, 8, 8))
    x = np.random.default_rng(0).random((5, *shape), "float32")
    assert model.reconstruct(x).shape == x.shape


def test_the_weights_are_those_of_any_size(trained, digits):
    large = small("unet_ae", (21, 34, 1), filters=(16, 32))
    large.set_weights(trained.model.get_weights())
    x = np.zeros((1, 21, 34, 1), "float32")
    x[0, 6:14, 12:20] = digits[0] / 255
    found = large.reconstruct(x)
    assert found.shape == x.shape
    assert np.square(found - x).mean() < 0.01


def test_learns_pairs_of_noisy_and_clean(digits, test_digits):
    model = small("unet_ae", corruption=None)
    assert model.corruption is None

    def dark(x):
        return (x / 255 * 0.3).astype("float32")

    model.fit(dark(digits), digits / 255, epochs=5, verbose=0)
    error = np.square(model.reconstruct(dark(test_digits)) - test_digits / 255).mean()
    assert error < 0.1 * np.square(dark(test_digits) - test_digits / 255).mean()


def test_the_data_may_lie_anywhere_where_nothing_is_clipped():
    x = 5 * np.random.default_rng(0).standard_normal((64, 16, 2)).astype("float32")
    options = {"clip": False, "output_activation": None}
    model = small("unet_ae", (16, 2), **options)
    np.testing.assert_array_equal(model.reconstruct(x), x)
    assert np.isfinite(model.fit(x, verbose=0).history["loss"]).all()
    with pytest.raises(ValueError, match=r"lie in \[0, 1\].*Received"):
        small("unet_ae", (16, 2)).fit(x, verbose=0)


def test_the_file_is_that_of_a_reconstruction_model(trained, test_digits):
    loaded = aezoo.load_model(trained.folder)
    assert type(loaded) is aezoo.ReconstructionModel
    np.testing.assert_array_equal(
        loaded.reconstruct(test_digits), trained.model.reconstruct(test_digits)
    )
    assert not hasattr(loaded, "encode")


def test_exports_as_a_whole_alone(trained, digits, tmp_path):
    found = aezoo.export(trained.model, tmp_path / "unet", data=digits)
    assert found.difference < 1e-4
    with pytest.raises(ValueError, match="Received: unet_ae, which has no code"):
        aezoo.export(trained.model, tmp_path / "encoder", part="encoder", data=digits)


def test_detects_and_imputes_by_its_reconstruction(trained, digits, test_digits):
    detector = aezoo.anomaly.Detector(trained.model).fit(digits[:200], 0.1)
    assert detector.predict(test_digits).shape == (len(test_digits),)
    missing = np.zeros(test_digits.shape, bool)
    missing[:, 3, 3] = True
    assert np.isfinite(aezoo.impute(trained.model, test_digits, missing)).all()


def test_a_step_is_what_its_layers_say(digits):
    """The output is the input and what the last convolution adds, cut to [0, 1]."""
    model = small("unet_ae", filters=(4, 8))
    network = model.get_layer("network")
    network.get_layer("change").bias.assign([0.25])
    x = digits[:5] / np.float32(255)
    np.testing.assert_allclose(
        to_numpy(model(x, training=False)), np.minimum(x + 0.25, 1), rtol=0, atol=1e-6
    )
