"""Files from strangers run no code; two trainings never share a folder; full disks lose nothing."""

import contextlib
import ctypes
import functools
import hashlib
import json
import os
import pathlib
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

import aezoo
from aezoo.anomaly import Detector, load_detector
from aezoo.cli.app import main
from aezoo.saving.archive import check_archive
from aezoo.training import lock
from aezoo.training.lock import locked
from tests.conftest import ROOT, full_disk, run_python, small

HOUSE = re.compile(r"[^\n]*Received: .+\Z", re.DOTALL)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def digits_model(**options):
    return small("dense_ae", hidden_units=(8,), **options)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("safety") / "model.keras"
    digits_model().save(path)
    return path


def rewritten(source, target, change):
    """A `.keras` file with another configuration."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                content = json.dumps(change(json.loads(content))).encode()
            new.writestr(name, content)
    return target


def first_dense(config):
    """The configuration of the first dense layer inside of a model's."""
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "Dense":
            return layer
        if "layers" in layer.get("config", {}):
            return first_dense(layer)
    raise AssertionError("no dense layer")


def with_activation(value):
    def change(config):
        first_dense(config)["config"]["activation"] = value
        return config

    return change


def with_layer(**parts):
    def change(config):
        first_dense(config).update(parts)
        return config

    return change


def function(module, name):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


FOREIGN = {
    "os.system as activation": with_activation(function("os", "system")),
    "posix.system by another name": with_activation(function("posix", "system")),
    "eval of builtins": with_activation(function("builtins", "eval")),
    "a download by keras": with_activation(function("keras.utils", "get_file")),
    "a pickled lambda": with_activation({"class_name": "__lambda__", "config": {"value": "4w=="}}),
    "a class of subprocess": with_layer(
        module="subprocess", class_name="Popen", config={"args": ["true"]}, registered_name="Popen"
    ),
    "a module that would be imported": with_layer(
        module="a_strangers_module", class_name="Layer", registered_name="a>Layer"
    ),
    "a module below keras that there is not": with_layer(
        module="keras.a_strangers_module", class_name="Layer", registered_name="a>Layer"
    ),
    "another saved model": with_layer(
        module="keras.layers", class_name="TFSMLayer", config={"filepath": "/tmp"}
    ),
    "a class in place of the model": lambda config: {**config, **function("os", "system")},
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_file_that_names_code_is_refused(what, saved, tmp_path, monkeypatch):
    (tmp_path / "a_strangers_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    path = rewritten(saved, tmp_path / "stranger.keras", FOREIGN[what])
    with pytest.raises(ValueError, match=HOUSE) as refused:
        aezoo.load_model(path)
    assert "`path` must be" in str(refused.value)
    assert "a_strangers_module" not in sys.modules
    with pytest.raises(ValueError, match=HOUSE):
        digits_model(weights=path)


def test_the_sentence_names_what_was_asked_for(saved, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    rewritten(saved, run / "model.keras", FOREIGN["os.system as activation"])
    with pytest.raises(ValueError, match=r"asks for os\.system, which was not loaded\. Received: "):
        aezoo.load_model(run)
    monkeypatch.setattr("sys.argv", ["aezoo", "encode", str(run), "digits", "--out", "c.npz"])
    with pytest.raises(SystemExit, match="2"):
        main()
    error = capsys.readouterr().err
    assert error.startswith("Error: `path` must be a file of Keras's own classes")
    assert "Traceback" not in error


def test_lambda_layers_are_refused_also_where_keras_was_told_to_trust(tmp_path):
    encoder = keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x[:, :2])])
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(4)])
    aezoo.autoencoder(encoder, decoder).save(tmp_path / "lambda.keras")
    keras.Sequential([keras.Input((4,)), layers.Lambda(lambda x: x)]).save(tmp_path / "old.h5")
    (tmp_path / "old.h5").rename(tmp_path / "old.keras")
    keras.config.enable_unsafe_deserialization()
    try:
        for name in ("lambda.keras", "old.keras"):
            with pytest.raises(ValueError, match=r"`path` must be .* Received: "):
                aezoo.load_model(tmp_path / name)
    finally:
        keras.utils.clear_session()  # which is safe again


def test_a_users_own_registered_classes_are_loaded(tmp_path):
    @keras.saving.register_keras_serializable("mine")
    class Double(layers.Layer):
        def call(self, x):
            return 2 * x

    encoder = keras.Sequential([keras.Input((4,)), Double(), layers.Dense(2)])
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(4)])
    model = aezoo.autoencoder(encoder, decoder)
    model.save(tmp_path / "mine.keras")
    x = np.ones((3, 4), "float32")
    loaded = aezoo.load_model(tmp_path / "mine.keras")
    np.testing.assert_array_equal(loaded.encode(x), model.encode(x))


def test_every_model_of_the_zoo_asks_for_nothing_foreign(tmp_path):
    for name in ("vq_vae", "patch_ae", "masked_ae", "adversarial_ae"):
        small(name).save(tmp_path / "model.keras")
        check_archive(tmp_path / "model.keras")


@pytest.fixture
def bomb(tmp_path):
    return np.array([Bomb(tmp_path / "exploded")], object)


@pytest.fixture
def unexploded(tmp_path):
    yield
    assert not (tmp_path / "exploded").exists()


@pytest.mark.usefixtures("unexploded")
def test_pickles_in_data_are_refused(bomb, tmp_path):
    np.save(tmp_path / "x.npy", bomb)
    np.savez(tmp_path / "x.npz", x=bomb)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    for name in ("x.npy", "x.npz", "raw.npy"):
        with pytest.raises(ValueError, match=HOUSE):
            aezoo.data.arrays(tmp_path / name)


@pytest.mark.usefixtures("unexploded")
def test_pickles_in_pretrained_weights_are_refused(bomb, tmp_path):
    folder = aezoo.save_pretrained(digits_model(), tmp_path / "weights")
    with np.load(folder / "weights.npz") as file:
        arrays = {**file, next(iter(file)): bomb}
    np.savez(folder / "weights.npz", **arrays)
    with pytest.raises(ValueError, match=r"sha256 of weights.npz is not that of its card"):
        aezoo.dense_ae(weights=folder)
    sign(folder)
    with pytest.raises(ValueError, match=r"must be a whole .npz file of numbers.*Received: "):
        aezoo.dense_ae(weights=folder)


def sign(folder, **changes):
    """A stranger gives the card the hash of what they made."""
    card = json.loads((folder / "card.json").read_text())
    card["sha256"] = hashlib.sha256((folder / "weights.npz").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps({**card, **changes}))


def test_cards_hold_arguments_and_nothing_else(tmp_path):
    folder = aezoo.save_pretrained(digits_model(), tmp_path / "weights")
    arguments = json.loads((folder / "card.json").read_text())["arguments"]
    changes = [
        {"arguments": {**arguments, "callback": "os.system"}},
        {"arguments": {**arguments, "activation": function("os", "system")}},
        {"arguments": {**arguments, "hidden_units": [16]}},
        {"arguments": [1]},
        {"model": ["dense_ae"]},
        {"model": "conv_ae"},
    ]
    for change in changes:
        sign(folder, **change)
        with pytest.raises(ValueError, match=HOUSE):
            aezoo.dense_ae(weights=folder)
        sign(folder, arguments=arguments, model="dense_ae")
    assert aezoo.dense_ae(weights=folder).count_params()


@pytest.mark.usefixtures("unexploded")
def test_detectors_from_strangers_run_no_code(bomb, digits, saved, tmp_path):
    detector = Detector(digits_model()).fit(digits[:40], 0.1)
    folder = detector.save(tmp_path / "detector")
    content = json.loads((folder / "detector.json").read_text())

    def signed(**changes):
        sha256 = {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in ("model.keras", "detector.npz")
        }
        changed = {key: {**content, **changes}[key] for key in content if key != "sha256"}
        text = json.dumps(changed, sort_keys=True)
        sha256["detector.json"] = hashlib.sha256(text.encode()).hexdigest()
        (folder / "detector.json").write_text(json.dumps({**changed, "sha256": sha256}))

    for changes in ({"threshold": "high"}, {"score": "os.system"}, {"seed": -1}, {"neighbors": []}):
        signed(**changes)
        with pytest.raises(ValueError, match=r"`folder` must hold a whole detector.*Received: "):
            load_detector(folder)
    arrays = (folder / "detector.npz").read_bytes()
    np.savez(folder / "detector.npz", calibration_scores=bomb)
    signed()
    with pytest.raises(ValueError, match=HOUSE):
        load_detector(folder)
    (folder / "detector.npz").write_bytes(arrays)
    rewritten(saved, folder / "model.keras", FOREIGN["os.system as activation"])
    signed()
    with pytest.raises(ValueError, match=r"os\.system"):
        load_detector(folder)


def test_a_detector_whose_threshold_was_changed_is_refused(digits, tmp_path):
    folder = Detector(digits_model()).fit(digits[:40], 0.1).save(tmp_path / "detector")
    content = json.loads((folder / "detector.json").read_text())
    content["threshold"] *= 2
    (folder / "detector.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"detector\.json is not as it was saved.*Received: "):
        load_detector(folder)


def test_nothing_of_ours_downloads():
    """TFDS checks what it fetches; the one request beside it asks whether there is a network."""
    words = re.compile(r"\b(urllib|urlopen|urlretrieve|requests|get_file|http\.client|socket)\b")
    using = {
        str(path.relative_to(ROOT)): sorted(set(words.findall(path.read_text())))
        for path in (ROOT / "aezoo").rglob("*.py")
        if words.search(path.read_text())
    }
    assert using == {"aezoo/data/_tfds.py": ["urllib", "urlopen"]}
    assert 'method="HEAD"' in (ROOT / "aezoo/data/_tfds.py").read_text()


class TrainAgain(keras.callbacks.Callback):
    """Begins another training into the same folder while one is running."""

    refusals = ()

    def __init__(self, out):
        super().__init__()
        self.out = out

    def on_epoch_end(self, epoch, logs=None):
        for options in ({}, {"resume": True}, {"overwrite": True}):
            try:
                train(self.out, **options)
            except ValueError as error:
                self.refusals = (*self.refusals, str(error))


def train(out, **options):
    x = aezoo.data.arrays("digits")[:40]
    model = digits_model()
    model.run_eagerly = True
    return aezoo.train(model, x, 2, out, batch_size=20, seed=0, verbose=False, **options)


def test_a_second_training_into_the_same_folder_is_refused(tmp_path):
    again = TrainAgain(tmp_path / "run")
    run = train(tmp_path / "run", callbacks=(again,))
    expected = "`out` must be a folder that no other training writes to at the same time."
    assert again.refusals == (f"{expected} Received: {tmp_path / 'run'}",) * 6
    assert len(run.history["epoch"]) == 2
    assert not (tmp_path / "run" / ".lock").exists()
    assert train(tmp_path / "run", resume=True).metrics == run.metrics


@contextlib.contextmanager
def another_process_holding(folder):
    """A process without aezoo, as it starts at once, that holds the lock until it is killed."""
    script = (
        "import importlib.util, sys, time\n"
        "spec = importlib.util.spec_from_file_location('lock', sys.argv[1])\n"
        "lock = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(lock)\n"
        "with lock.locked(sys.argv[2]):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, lock.__file__, str(folder)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_killed_process_leaves_no_lock_behind(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with another_process_holding(run) as process:
        for _ in range(2):
            with pytest.raises(ValueError, match=r"no other training.*Received: "):
                train(run)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (run / ".lock").exists()
        (run / f".writing-{process.pid}-checkpoint-0001.keras").write_bytes(b"half a checkpoint")
        assert len(train(run).history["epoch"]) == 2
    left = {path.name for path in run.iterdir()}
    assert not any(name.startswith(".") for name in left), left


def test_only_one_of_many_holds_the_lock(tmp_path):
    """They take it, hold it and give it back at the same time, from one process."""
    from concurrent.futures import ThreadPoolExecutor

    inside, refused, together = [], [], []

    def work(number):
        for _ in range(50):
            try:
                with locked(tmp_path):
                    inside.append(number)
                    together.append(len(inside))
                    inside.remove(number)
            except ValueError:
                refused.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert together
    assert max(together) == 1
    assert len(together) + len(refused) == 400
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_command_is_refused_while_another_trains_and_resumes_after_a_kill(tmp_path):
    command = ("-m", "aezoo", "train", "dense_ae", "--epochs", "60", "--seed", "0",
               "--out", str(tmp_path / "run"))  # fmt: skip
    first = subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True)
    try:
        while "epoch 1/" not in first.stderr.readline():
            assert first.poll() is None
        first.send_signal(signal.SIGSTOP)  # it holds the lock, and gets no further
        for more in ((), ("--overwrite",), ("--resume",)):
            done = run_python(*command, *more)
            assert done.returncode == 2
            last = done.stderr.splitlines()[-1]
            assert re.fullmatch(r"Error: .*no other training.*Received: .*run", last)
    finally:
        first.kill()
        first.wait()
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    done = run_python(*command, "--resume")
    assert done.returncode == 0, done.stderr
    resumed = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert resumed[: len(rows) - 1] == rows[:-1]
    assert len(resumed) == 61


@contextlib.contextmanager
def read_only(folder):
    """A folder that this process may not write to; root gives up that right for a while."""
    modes = {path: path.stat().st_mode for path in [*pathlib.Path(folder).rglob("*"), folder]}
    for path, mode in modes.items():
        path.chmod(mode & 0o555)
    try:
        with without_override() if os.geteuid() == 0 else contextlib.nullcontext():
            yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@contextlib.contextmanager
def without_override():
    """Linux's root without the capability to write where the permissions forbid it.

    It stays root, as another user could not read an environment in a private folder.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    rights = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the high halves
    assert libc.capget(header, rights) == 0, os.strerror(ctypes.get_errno())
    before = rights[0]
    rights[0] = before & ~(1 << 1)  # CAP_DAC_OVERRIDE
    assert libc.capset(header, rights) == 0, os.strerror(ctypes.get_errno())
    try:
        yield
    finally:
        rights[0] = before
        assert libc.capset(header, rights) == 0, os.strerror(ctypes.get_errno())


@pytest.fixture(scope="module")
def written():
    """A folder of everything that is saved, and the functions that save it again."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        model = small("pca_ae", latent_dim=8)
        x = aezoo.data.arrays("digits")[:60]
        model.fit(x, verbose=0)
        np.save(folder / "x.npy", x)
        run = folder / "run"
        run.mkdir()
        model.save(run / "model.keras")
        detector = Detector(model, "nearest").fit(x, 0.1)
        card = functools.cache(lambda: aezoo.evaluate(model, x, noise_levels=(), verbose=False))
        command = {
            "encode": (run, folder / "x.npy", "--out", folder / "codes.npz", "--overwrite"),
            "detect": (folder / "detector", folder / "x.npy", "--out", folder / "scores.csv",
                       "--overwrite"),
        }  # fmt: skip
        savers = {
            "pretrained": lambda: aezoo.save_pretrained(model, folder / "weights", overwrite=True),
            "detector": lambda: detector.save(folder / "detector", overwrite=True),
            "report": lambda: card().save(folder / "report"),
            "encode": lambda: command_line("encode", *command["encode"]),
            "detect": lambda: command_line("detect", *command["detect"]),
        }
        detector.save(folder / "detector")
        yield folder, savers


def command_line(*arguments):
    from typer.testing import CliRunner

    from aezoo.cli.app import app

    result = CliRunner().invoke(app, [str(part) for part in arguments])
    if result.exception is not None:
        raise result.exception


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "what",
    ["pretrained", "detector", "encode", "detect", pytest.param("report", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("trouble", [full_disk, read_only])
def test_what_cannot_be_written_leaves_the_old_files(what, trouble, written):
    folder, savers = written
    savers[what]()
    before = contents(folder)
    with (
        trouble(folder) if trouble is read_only else trouble(),
        pytest.raises(OSError, match=HOUSE) as failed,
    ):
        savers[what]()
    assert re.match("The disk is full or not writable", str(failed.value))
    assert contents(folder) == before
    assert not list(folder.rglob(".writing-*"))


class FillsAt(keras.callbacks.Callback):
    """The disk is full from the beginning of an epoch on."""

    def __init__(self, epoch, trouble):
        super().__init__()
        self.epoch, self.trouble = epoch, trouble

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.trouble.enter_context(full_disk())


def test_a_run_whose_disk_is_full_keeps_its_checkpoint_and_resumes(tmp_path):
    with contextlib.ExitStack() as trouble, pytest.raises(OSError, match=HOUSE):
        train(tmp_path / "run", callbacks=(FillsAt(1, trouble),))
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {"config.json", "history.csv", "checkpoint-0001.keras"}
    before = (tmp_path / "run" / "history.csv").read_text().splitlines()
    assert train(tmp_path / "run", resume=True).history["epoch"] == [1, 2]
    assert (tmp_path / "run" / "history.csv").read_text().splitlines()[:2] == before[:2]


def test_a_folder_that_cannot_be_written_is_refused_before_the_training():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        with read_only(folder), pytest.raises(ValueError, match=r"can be written.*Received: "):
            train(folder)
        assert not list(folder.iterdir())
