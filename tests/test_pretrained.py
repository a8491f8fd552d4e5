"""Weights by tag and by folder: cards, hashes, contradictions, recipes."""

import json

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import aezoo
from aezoo.cli.app import app
from aezoo.cli.recipe_files import list_recipes, read_recipe
from aezoo.saving.pretrained import SHIPPED, read_card
from benchmarks.pretrained import embedded, figures_of
from tests.conftest import quick_for, small, tfds_folder

SHIPPED_NAMES = aezoo.list_weights()


def shipped(name, **options):
    model, tag = name.split(".", 1)
    return aezoo.create(model, weights=tag, **options)


@pytest.fixture
def folder(tmp_path):
    model = small("dense_ae", hidden_units=(32,))
    return aezoo.save_pretrained(model, tmp_path / "mine", data="digits", figures={"mse": 0.1})


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_shipped_weights_keep_what_their_card_says(name):
    card = read_card(SHIPPED / name)
    for key in ("about", "data", "command", "seed", "figures", "sha256", "versions"):
        assert card[key] is not None
    assert {"name", "licence", "preprocessing"} == set(card["data"])
    assert card["command"] == f"aezoo train --recipe {name}"
    model = shipped(name)
    assert model.compiled
    error = model.reconstruction_error(embedded(model.input_shape[1:])).mean()
    assert error == pytest.approx(card["figures"]["embedded_mse"], rel=0.01)
    recipe = read_recipe(name)
    for key, value in recipe["arguments"].items():
        assert card["arguments"][key] == (list(value) if isinstance(value, tuple) else value)
    data = recipe["data"]
    if tfds_folder(data):
        x = aezoo.data.arrays(data, "test")
        if model.corruption is None:
            error = float(model.reconstruction_error(x).mean())
            assert error == pytest.approx(card["figures"]["mse"], rel=0.01)
        assert card["figures"]["mse"] < card["figures"]["pca_mse"] or "affine" in str(card)


def test_shipped_weights_are_small():
    sizes = {name: (SHIPPED / name / "weights.npz").stat().st_size for name in SHIPPED_NAMES}
    assert sum(sizes.values()) < 12e6
    assert all(size < 3e6 for name, size in sizes.items() if name.startswith("dense"))
    assert set(SHIPPED_NAMES) >= {
        "conv_ae.cifar10", "conv_ae.mnist", "denoising_ae.mnist", "dense_ae.mnist",
    }  # fmt: skip


def test_a_tag_sets_the_arguments_and_refuses_others():
    model = aezoo.conv_ae(weights="mnist", learning_rate=0.5, name="mine")
    assert model.input_shape == (None, 28, 28, 1)
    assert model.name == "mine"
    assert float(model.optimizer.learning_rate) == 0.5
    assert not aezoo.conv_ae(weights="mnist", compile=False).compiled
    aezoo.conv_ae((28, 28, 1), 32, weights="mnist")
    with pytest.raises(ValueError, match=r"`latent_dim` must be 32, as the weights.*Received: 16"):
        aezoo.conv_ae((28, 28, 1), 16, weights="mnist")
    with pytest.raises(ValueError, match=r"`input_shape` must be \[28, 28, 1\]"):
        aezoo.conv_ae((32, 32, 3), weights="mnist")
    with pytest.raises(ValueError, match=r"tags 'cifar10', 'mnist' \(did you mean 'mnist'\?\)"):
        aezoo.conv_ae(weights="mnits")
    with pytest.raises(ValueError, match=r"`weights` must be None.*Received: 3"):
        aezoo.conv_ae(weights=3)


@pytest.mark.parametrize("precision", quick_for(["float16"], ["float16", "float32"]))
@pytest.mark.parametrize("name", ["conv_ae", "vae", "masked_ae", "vq_vae", "pca_ae"])
def test_a_folder_of_ones_own(name, precision, digits, tmp_path):
    keras.utils.set_random_seed(1)
    model = small(name, seed=None)
    model.run_eagerly = True
    model.fit(digits[:64], verbose=0)
    folder = aezoo.save_pretrained(model, tmp_path / "mine", precision=precision, data="digits")
    loaded = aezoo.create(name, weights=folder)
    tolerance = 1e-6 if precision == "float32" else 5e-3
    expected = model.encode(digits[:20])
    np.testing.assert_allclose(
        loaded.encode(digits[:20]), expected, atol=tolerance * np.abs(expected).max()
    )
    assert read_card(folder)["data"] == "digits"


def test_a_loaded_model_knows_what_made_it(digits, tmp_path):
    model = small("conv_ae", filters=(4,))
    model.save(tmp_path / "m.keras")
    loaded = aezoo.load_model(tmp_path / "m.keras")
    folder = aezoo.save_pretrained(loaded, tmp_path / "mine")
    assert read_card(folder)["arguments"]["filters"] == [4]
    own = aezoo.autoencoder(model.encoder, model.decoder)
    with pytest.raises(ValueError, match="made by a factory"):
        aezoo.save_pretrained(own, tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_a_folder_is_not_overwritten_unasked(folder):
    model = small("dense_ae", hidden_units=(16,))
    with pytest.raises(ValueError, match="`folder` must be new"):
        aezoo.save_pretrained(model, folder)
    aezoo.save_pretrained(model, folder, overwrite=True)
    assert read_card(folder)["arguments"]["hidden_units"] == [16]


def test_damaged_folders_are_named(folder):
    weights = (folder / "weights.npz").read_bytes()
    (folder / "weights.npz").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(ValueError, match="sha256"):
        aezoo.dense_ae(weights=folder)
    (folder / "weights.npz").unlink()
    with pytest.raises(ValueError, match=r"whole card\.json and weights.npz \(FileNotFound"):
        aezoo.dense_ae(weights=folder)
    (folder / "weights.npz").write_bytes(weights)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").write_text(json.dumps({**card, "arguments": {"nonsense": 1}}))
    with pytest.raises((TypeError, ValueError), match="nonsense"):
        aezoo.dense_ae(weights=folder)
    (folder / "card.json").write_text("{")
    with pytest.raises(ValueError, match=r"whole card\.json"):
        aezoo.dense_ae(weights=folder)
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="those of a dense_ae"):
        aezoo.conv_ae(weights=folder)


@pytest.mark.parametrize("name", list_recipes())
def test_recipes_make_their_models(name):
    recipe = read_recipe(name)
    shape = (32, 32, 3) if "cifar" in recipe["data"] else (28, 28, 1)
    assert aezoo.create(recipe["model"], shape, **recipe["arguments"]).built
    assert recipe["training"]["seed"] is not None
    assert name in SHIPPED_NAMES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = ", "must be TOML"),
        ('model = "dense_ae"', "texts `model` and `data`"),
        ('model = "dens_ae"\ndata = "digits"', "did you mean 'dense_ae'"),
        ('model = "dense_ae"\ndata = "digits"\nepochs = 3', r"must hold only.*Received: 'epochs'"),
        (
            'model = "dense_ae"\ndata = "digits"\n[arguments]\nlatent = 3',
            "did you mean 'latent_dim'",
        ),
    ],
)
def test_wrong_recipes_are_named(text, message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_recipe(str(path))
    with pytest.raises(ValueError, match=r"`--recipe` must be one of.*Received: 'nope'"):
        read_recipe("nope")


def test_a_recipe_and_the_list_on_the_command_line(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'model = "dense_ae"\ndata = "digits"\n[arguments]\nhidden_units = [16]\n'
        "[training]\nepochs = 1\nseed = 3\n"
    )
    command = ["train", "--recipe", str(path), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert aezoo.load_model(tmp_path / "run").recipe["arguments"]["hidden_units"] == [16]
    done = CliRunner().invoke(app, ["list", "--weights"], env={"COLUMNS": "160"})
    for name in SHIPPED_NAMES:
        assert name in done.output


def test_figures_of_cards_are_measured():
    figures = figures_of(small("conv_ae"), "digits")
    assert {"mse", "psnr", "pca_mse", "pca_psnr", "embedded_mse"} <= set(figures)
