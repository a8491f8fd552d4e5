"""Training on two devices, and in two processes, is training on one with the same batches."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

import aezoo
from aezoo.cli.app import app
from tests.conftest import ROOT, is_closed_form, run_python
from tests.distribution import FEW, OWN_NOISE, VARIANTS

MODELS = aezoo.list_models()


def results(text):
    """The lines of JSON that a program printed, by their names."""
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return {line["name"]: line for line in found}


def start_pair(*arguments):
    """Two workers of one job; each is told its number by {} in the arguments."""
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    pair = []
    for number in range(2):
        task = {"type": "worker", "index": number}
        config = {"cluster": {"worker": addresses}, "task": task}
        pair.append(
            subprocess.Popen(
                [sys.executable, *(str(argument).format(number) for argument in arguments)],
                cwd=ROOT,
                env={**os.environ, "TF_CONFIG": json.dumps(config)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return pair


def finish_pair(pair, timeout=600):
    try:
        return [worker.communicate(timeout=timeout) for worker in pair]
    finally:
        for worker in pair:
            worker.kill()


@pytest.fixture(scope="session")
def mirrored():
    """What one process with two devices printed of a few models."""
    return run_mirrored()


@pytest.fixture(scope="session")
def zoo_mirrored():
    """What one process with two devices printed of the whole zoo."""
    return run_mirrored("--all")


def run_mirrored(*options):
    done = run_python("-m", "tests.distribution", "mirrored", *options, cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stderr
    return results(done.stdout)


@pytest.fixture(scope="session")
def workers(tmp_path_factory):
    """What two workers printed of a few models, of which one is compiled."""
    return run_workers(tmp_path_factory)


@pytest.fixture(scope="session")
def zoo_workers(tmp_path_factory):
    """What two workers printed of the whole zoo, compiled."""
    return run_workers(tmp_path_factory, "--compiled")


def run_workers(tmp_path_factory, *options):
    """The second worker kills itself in the end."""
    out = tmp_path_factory.mktemp("workers") / "out-{}"
    pair = start_pair("-m", "tests.distribution", "multiworker", out, *options)
    printed = finish_pair(pair)
    assert [worker.returncode for worker in pair] == [0, -signal.SIGKILL], printed[0][1]
    return [results(text) for text, _ in printed]


def check_same(found, alone, name):
    """As on one device: to the last digits, or nearly so where replicas draw and count alone."""
    assert found["mse"] == pytest.approx(alone["mse"], rel=0.02)
    if name not in OWN_NOISE:
        assert found["mse"] == pytest.approx(alone["mse"], rel=1e-5)
    if "saved" in found:
        expected = pytest.approx(found["saved"]["evaluated_mse"], rel=1e-5)
        assert found["evaluated_mse"] == expected
        assert found["saved"]["weights"] == 0
        assert found["saved"]["codes"] < 1e-5
        assert found["saved"]["reconstructions"] < 1e-6


@pytest.mark.parametrize("name", FEW)
def test_two_devices_train_as_one(name, mirrored):
    check_devices(name, mirrored)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_two_devices_train_the_whole_zoo_as_one(name, zoo_mirrored):
    check_devices(name, zoo_mirrored)


@pytest.mark.slow
@pytest.mark.parametrize("label", VARIANTS)
def test_two_devices_have_the_statistics_of_one(label, zoo_mirrored):
    check_devices(label, zoo_mirrored)


def check_devices(name, mirrored):
    found = mirrored[name]
    check_same(found, found["alone"], name)
    if name not in OWN_NOISE:
        assert found["alone"]["difference"] < 1e-5
        assert found["loss"] == pytest.approx(found["alone"]["loss"], rel=1e-5)


def test_a_conditional_model_trains_on_two_devices(mirrored):
    losses, drawn = mirrored["conditional"]["losses"], mirrored["conditional"]["drawn"]
    assert losses[1] < losses[0]
    assert drawn == [3, 8, 8, 1]


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_two_workers_train_as_one(name, workers, mirrored):
    check_workers(name, workers, mirrored)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_two_workers_train_the_whole_zoo_as_one(name, zoo_workers, zoo_mirrored):
    check_workers(name, zoo_workers, zoo_mirrored)


def check_workers(name, workers, mirrored):
    found, other = (worker[name] for worker in workers)
    for key in ("weights", "loss", "mse"):
        assert found[key] == other[key], key
    assert found.get("evaluated_mse") == other.get("evaluated_mse")
    alone = mirrored[name]["alone"]
    if name == "patch_ae":  # filters from other patches
        assert found["mse"] == pytest.approx(alone["mse"], rel=0.25)
        return
    check_same(found, alone, name)
    if name == "dense_ae" or is_closed_form(name):
        assert found["alone"]["difference"] < (1e-4 if is_closed_form(name) else 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", ["shuffled", "plain", "unknown"])
def test_two_workers_learn_from_pipelines_as_one(pipeline, workers):
    for worker in workers:
        assert worker[pipeline]["difference"] < 1e-5


@pytest.mark.slow
def test_two_workers_resume_the_recipe_and_only_the_chief_writes(workers):
    chief, other = (worker["resumed"] for worker in workers)
    assert chief["stopped"] == other["stopped"] == "stopped"
    assert chief["left"] == ["checkpoint-0002.keras", "config.json", "history.csv"]
    assert chief["files"] == sorted(
        ["config.json", "history.csv", "history.png", "metrics.json", "model.keras",
         "reconstructions.png"]
    )  # fmt: skip
    assert other["left"] == other["files"] == []
    for key in ("epochs", "mse", "again", "weights"):
        assert chief[key] == other[key], key
    assert chief["epochs"] == [1, 2, 3]
    assert chief["again"] == chief["mse"]
    assert "outside strategy.scope()" in chief["inside"]


@pytest.mark.slow
def test_two_workers_tell_in_bounded_time_that_one_died(workers):
    lost = workers[0]["lost"]
    assert "Another worker of this job stopped" in lost["error"]
    assert "Received: " in lost["error"]
    assert lost["seconds"] < 120


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_job_is_resumed_from_the_command_line(victim, tmp_path):
    out, other = tmp_path / "out-0", tmp_path / "out-1"
    command = (
        "-m", "aezoo", "train", "dense_ae", "--hidden-units", "32", "--latent-dim", "4",
        "--epochs", "60", "--seed", "0", "--distribute", "multiworker",
        "--out", tmp_path / "out-{}",
    )  # fmt: skip
    pair = start_pair(*command)
    try:
        deadline = time.monotonic() + 240
        while not list(out.glob("checkpoint-*.keras")) and time.monotonic() < deadline:
            time.sleep(0.05)
        pair[victim].kill()
        begun = time.monotonic()
        _, said = pair[1 - victim].communicate(timeout=120)
        assert time.monotonic() - begun < 120
    finally:
        for worker in pair:
            worker.kill()
    assert pair[1 - victim].returncode == 1
    assert "Error: Another worker of this job stopped" in said
    rows = (out / "history.csv").read_text().splitlines()
    assert 2 <= len(rows) < 61
    printed = finish_pair(start_pair(*command, "--resume"))
    history = (out / "history.csv").read_text().splitlines()
    kept = max(1, len(rows) - 2)  # the chief may die between a row and its checkpoint
    assert history[: kept + 1] == rows[: kept + 1]
    assert [line.split(",")[0] for line in history[1:]] == [str(i) for i in range(1, 61)]
    assert "The run is in" in printed[0][0]
    assert printed[1][0] == ""
    assert not other.exists()
    assert json.loads((out / "metrics.json").read_text())["epochs"] == 60


def test_the_command_line_trains_under_a_strategy(tmp_path):
    arguments = ["train", "pca_ae", "--out", str(tmp_path / "run"), "--distribute"]
    done = CliRunner().invoke(app, [*arguments, "mirrored"])
    assert done.exit_code == 0, done.output
    assert pathlib.Path(tmp_path, "run", "model.keras").is_file()
    refused = CliRunner().invoke(app, [*arguments, "mirrors", "--overwrite"])
    assert "`--distribute` must be" in str(refused.exception)
