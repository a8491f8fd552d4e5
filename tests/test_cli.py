"""The command line as a user runs it: a process, its exit code, what it leaves."""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import aezoo
from aezoo.cli.app import main
from aezoo.cli.options import parse
from aezoo.models._registry import get_factory
from tests.conftest import run_python

TRAIN = ("-m", "aezoo", "train", "dense_ae", "--latent-dim", "4", "--hidden-units", "32,16")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "run"
    done = run_python(*TRAIN, "--epochs", 2, "--seed", 1, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "denoiser"
    aezoo.train(aezoo.denoising_ae((8, 8, 1), 16, seed=0), "digits", 10, out, verbose=False)
    return out


@pytest.fixture
def aezoo_here(monkeypatch, capsys):
    """The command line in this process: a function of its arguments."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["aezoo", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as exit:
            code = exit.code or 0
        output, errors = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, output, errors)

    return run


def test_train_makes_the_model_that_was_asked_for_and_shows_pca(trained):
    out, done = trained
    config = json.loads((out / "config.json").read_text())
    assert config["arguments"] == {
        "input_shape": [8, 8, 1], "latent_dim": 4, "hidden_units": [32, 16], "seed": 1,
    }  # fmt: skip
    model = aezoo.load_model(out)
    assert [layer.name for layer in model.encoder.layers[-3:]] == ["hidden_0", "hidden_1", "code"]
    assert "PCA, 4 components" in done.stdout
    assert re.search(r"epoch 2/2 loss 0\.\d+ .*0:00:00 left", done.stderr)


def test_every_factory_argument_is_an_option_with_help(aezoo_here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    done = aezoo_here("train", "denoising_ae", "--help")
    for option in (
        "--level",
        "--corruption",
        "--clip",
        "--filters",
        "--seed",
        "--resume",
        "--limit",
    ):
        assert option in done.stdout
    assert "default 0.5" in done.stdout
    assert "input-shape" not in done.stdout


def test_texts_become_what_the_argument_takes():
    dense, train = get_factory("dense_ae"), aezoo.train
    assert parse("hidden_units", "1000,500", dense) == (1000, 500)
    assert parse("hidden_units", "64", dense) == (64,)
    assert parse("hidden_units", "()", dense) == ()
    assert parse("image_size", "32", train) == 32
    assert parse("image_size", "24,32", train) == (24, 32)
    assert parse("jit_compile", "true", dense) is True
    assert parse("jit_compile", "auto", dense) == "auto"
    assert parse("variance", "0.1", get_factory("vae")) == 0.1
    assert parse("variance", "learnt", get_factory("vae")) == "learnt"


def test_list_shows_the_zoo(aezoo_here, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    done = aezoo_here("list")
    for name in aezoo.list_models():
        assert name in done.stdout
    assert "conv_ae" not in aezoo_here("list", "dense*").stdout


def test_reconstruct_denoises_files_and_folders(denoiser, tmp_path, test_digits, aezoo_here):
    model = aezoo.load_model(denoiser)
    noisy = (model.corrupt(test_digits[:3], seed=1) * 255).round().astype("uint8")
    for i, image in enumerate(noisy):
        Image.fromarray(image[..., 0]).save(tmp_path / f"{i}.png")
    out = tmp_path / "clean"
    command = ("reconstruct", denoiser, tmp_path / "0.png", tmp_path, "--out", out)
    done = aezoo_here(*command)
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in out.iterdir())
    assert len(names) == 4  # 0.png twice, by its own name and by the folder
    clean = np.asarray(Image.open(out / names[-1]), "float32") / 255
    target = test_digits[2, ..., 0] / 255.0
    assert np.square(clean - target).mean() < np.square(noisy[2, ..., 0] / 255.0 - target).mean()
    again = aezoo_here(*command)
    assert again.returncode == 2
    assert "must be new" in again.stderr
    (tmp_path / "broken.png").write_bytes(b"no image")
    done = aezoo_here("reconstruct", denoiser, tmp_path / "broken.png", "--out", tmp_path / "o")
    assert done.returncode == 2
    assert "readable images. Received: " in done.stderr
    assert not (tmp_path / "o").exists()


def test_encode_writes_codes_and_labels(trained, tmp_path, aezoo_here):
    out = tmp_path / "codes.npz"
    done = aezoo_here("encode", trained[0], "digits", "--split", "test", "--out", out)
    assert done.returncode == 0, done.stderr
    with np.load(out) as file:
        x, y = aezoo.data.arrays("digits", "test", labels=True)
        np.testing.assert_array_equal(file["labels"], y)
        np.testing.assert_allclose(file["codes"], aezoo.load_model(trained[0]).encode(x), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "dnse_ae"), r"did you mean 'dense_ae'"),
        (("train", "dense_ae", "--data", "mnits"), r"did you mean 'mnist'"),
        (("train", "dense_ae", "--data", "no/folder"), r"existing file or folder"),
        (("train", "dense_ae", "--latent-dim", "0"), r"`latent_dim`.*Received: 0"),
        (("train", "dense_ae", "--hidden-units", "10,x"), r"`--hidden-units`.*Received: '10,x'"),
        (("train", "dense_ae", "--epochs", "0"), r"`epochs`"),
        (("train", "dense_ae", "--limit", "-1"), r"`limit`"),
        (("train", "dense_ae", "--colour", "red"), r"No such option"),
        (("train", "dense_ae", "--epochs", "many"), r"Invalid value for '--epochs'"),
        (("encode", "no-run", "digits", "--out", "c.npz"), r"a run folder. Received: no-run"),
        (("encode", "no-run", "digits", "--out", "c.txt"), r"must end in .npz"),
        (("reconstruct", "no-run", "a.png", "--out", "o"), r"a run folder. Received: no-run"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["aezoo", *arguments])
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not any(tmp_path.iterdir())


def test_bad_input_in_a_process(tmp_path):
    done = run_python("-m", "aezoo", "train", "dense_ae", "--data", "no/folder", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("Error: `source` must be")
    assert not any(tmp_path.iterdir())


def test_a_finished_run_is_not_overwritten(trained, aezoo_here):
    done = aezoo_here(*TRAIN[2:], "--out", trained[0])
    assert done.returncode == 2
    assert "a finished run" in done.stderr


def start(out, epochs):
    command = [sys.executable, *TRAIN, "--epochs", str(epochs), "--seed", "1", "--out", str(out)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def wait_for_epochs(out, epochs, process):
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        history = out / "history.csv"
        if history.exists() and len(history.read_text().splitlines()) > epochs:
            return
        time.sleep(0.02)
    raise AssertionError("the training did not get so far")


@pytest.mark.slow
def test_kill_9_and_resume_leave_a_whole_history(tmp_path, aezoo_here):
    out = tmp_path / "run"
    process = start(out, 40)
    wait_for_epochs(out, 5, process)
    process.kill()
    process.wait()
    before = (out / "history.csv").read_text().splitlines()
    assert not (out / "metrics.json").exists()
    refused = aezoo_here("train", "dense_ae", "--out", out, "--resume", "--seed", "2")
    assert refused.returncode == 2
    assert "`--seed` must be that of the run to resume, 1. Received: 2" in refused.stderr
    done = aezoo_here("train", "dense_ae", "--out", out, "--resume")
    assert done.returncode == 0, done.stderr
    rows = (out / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == [str(n) for n in range(1, 41)]
    kept = len(before) - 2  # the header, and a row that the kill may have left without checkpoint
    assert rows[1:kept] == before[1:kept]
    assert aezoo.load_model(out).count_params() > 0


def test_ctrl_c_keeps_the_model_and_says_so(tmp_path):
    out = tmp_path / "run"
    process = start(out, 5000)
    wait_for_epochs(out, 3, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "keeps what it learnt" in errors
    assert "Traceback" not in errors
    aezoo.load_model(out)


def test_options_before_the_model_are_refused(aezoo_here, tmp_path):
    done = aezoo_here("train", "--out", tmp_path / "run", "dense_ae")
    assert done.returncode == 2
    message = "Options must stand behind the model: aezoo train dense_ae --out ... Received: --out"
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "run").exists()


def test_a_recipe_has_tables(aezoo_here, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text('model = "dense_ae"\ndata = "digits"\narguments = 3\n')
    done = aezoo_here("train", "--recipe", recipe)
    assert done.returncode == 2
    assert "must have tables [arguments] and [training]" in " ".join(done.stderr.split())
