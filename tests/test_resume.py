"""A resumed run is the run that nothing interrupted, to the bit."""

import contextlib
import csv
import functools
import inspect
import json
import multiprocessing
import shutil
import signal
import sys
import time
from unittest.mock import Mock

import keras
import numpy as np
import pytest

import aezoo
from aezoo.callbacks import Terminated
from aezoo.cli.app import main
from aezoo.training.run_folder import RunFolder, draws_of
from aezoo.training.tensorflow_augment import augmented
from tests.conftest import full_disk, small
from tests.test_training import FILES, StopAfter

SAMPLES = 330  # batches of 64, and a smaller one


def bits(model):
    """Weights and optimizer of a model."""
    variables = [*model.weights, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def assert_same_run(one, two):
    for a, b in zip(bits(one.model), bits(two.model), strict=True):
        np.testing.assert_array_equal(a, b)
    histories = []
    for run in (one, two):
        with (run.folder / "history.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        histories.append([{k: v for k, v in row.items() if k != "seconds"} for row in rows])
        in_memory = {k: v for k, v in run.history.items() if k != "seconds"}
        histories.append(in_memory)
        assert {path.name for path in run.folder.iterdir()} == FILES
    assert histories[0] == histories[2]
    assert histories[1] == histories[3]


def trained(make, data, out, kills=(), **options):
    """A run of 4 epochs that dies in the middle of each of some epochs, and is resumed."""
    options = {"batch_size": 64, "limit": SAMPLES, "verbose": False, **options}
    keras.utils.set_random_seed(7)
    for epoch in kills:
        with pytest.raises(RuntimeError):
            aezoo.train(make(), data, 4, out, resume=out.exists(),
                        callbacks=(StopAfter(epoch, RuntimeError()),), **options)  # fmt: skip
        keras.utils.set_random_seed(epoch)  # another process draws other numbers
    return aezoo.train(make(), data, 4, out, resume=bool(kills), **options)


CASES = {
    "denoising_ae": {"architecture": "dense", "hidden_units": (16,)},
    "vae": {"hidden_units": (16,), "warmup_steps": 9},
    "masked_ae": {},
    "vq_vae": {"architecture": "dense", "hidden_units": (16,)},
}


@pytest.mark.parametrize(
    ("name", "seed", "kills"),
    [
        ("denoising_ae", 0, (2,)),
        ("vae", None, (0, 1)),
        pytest.param("masked_ae", 0, (1, 2), marks=pytest.mark.slow),
        pytest.param("vq_vae", None, (1,), marks=pytest.mark.slow),
        *(pytest.param(name, None, (0, 2), marks=pytest.mark.slow) for name in CASES),
    ],
)
def test_order_augmentation_corruption_and_draws_go_on(name, seed, kills, tmp_path):
    def make():
        return small(name, seed=seed, **CASES[name])

    options = {"augment": 0.05 if seed is None else 0.0, "seed": seed}
    whole = trained(make, "digits", tmp_path / "whole", **options)
    resumed = trained(make, "digits", tmp_path / "resumed", kills=kills, **options)
    assert_same_run(whole, resumed)
    drawn = json.loads((tmp_path / "resumed" / "config.json").read_text())["training"]["seed"]
    assert isinstance(drawn, int)
    assert draws_of(whole.model).keys() == draws_of(resumed.model).keys()
    for key, state in draws_of(whole.model).items():
        np.testing.assert_array_equal(state, draws_of(resumed.model)[key])


def test_early_stopping_goes_on(tmp_path, digits, monkeypatch):
    """Its best value and weights and its patience; also of a run killed behind its last epoch."""

    def make():
        model = small("dense_ae", hidden_units=(16,), learning_rate=0.05)
        model.run_eagerly = True
        return model

    def run(out, resume=False, kill=None):
        callbacks = () if kill is None else (StopAfter(kill, RuntimeError()),)
        return aezoo.train(make(), digits[:60], 40, out, batch_size=8, early_stopping=2, warmup=0,
                           seed=1, resume=resume, callbacks=callbacks, verbose=False)  # fmt: skip

    whole = run(tmp_path / "whole")
    last = whole.history["epoch"][-1]
    assert 8 <= last < 40
    out = tmp_path / "resumed"
    with pytest.raises(RuntimeError):
        run(out, kill=last - 2)
    with monkeypatch.context() as dying:  # once the training is over, before its figures
        dying.setattr("aezoo.training.recipe._finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(out, resume=True)
    assert_same_run(whole, run(out, resume=True))


def test_a_streamed_source_goes_on_in_its_order(tmp_path, monkeypatch):
    from aezoo.data import _load

    load = inspect.unwrap(_load.load)
    monkeypatch.setattr(load, "__kwdefaults__", {**load.__kwdefaults__, "memory_limit": 1})
    make = lambda: small("dense_ae", hidden_units=(16,))  # noqa: E731
    whole = trained(make, "digits", tmp_path / "whole", seed=3)
    resumed = trained(make, "digits", tmp_path / "resumed", kills=(2,), seed=3)
    assert_same_run(whole, resumed)


def test_initial_epoch_begins_with_its_order(digits):
    """In the fused loop and in Keras's own."""
    for eager in (False, True):
        runs = []
        for parts in ([(0, 4)], [(0, 1), (1, 4)]):
            model = small("dense_ae", hidden_units=(16,))
            model.run_eagerly = eager
            for first, epochs in parts:
                batches = aezoo.data.load(digits[:SAMPLES], batch_size=64, seed=5)
                model.fit(batches, epochs=epochs, initial_epoch=first, verbose=0)
            runs.append(bits(model))
        for one, two in zip(*runs, strict=True):
            np.testing.assert_array_equal(one, two)


def test_a_run_of_an_earlier_version_is_resumed(tmp_path):
    """Without a state in its checkpoint and without a seed in its configuration."""
    out = tmp_path / "run"
    make = lambda: small("vae", hidden_units=(16,))  # noqa: E731
    with pytest.raises(RuntimeError):
        aezoo.train(make(), "digits", 3, out, verbose=False,
                    callbacks=(StopAfter(2, RuntimeError()),))  # fmt: skip
    (checkpoint,) = out.glob("checkpoint-*.keras")
    aezoo.load_model(checkpoint).save(checkpoint)
    config = json.loads((out / "config.json").read_text())
    config["training"]["seed"] = None
    (out / "config.json").write_text(json.dumps(config))
    run = aezoo.train(make(), "digits", 3, out, resume=True, verbose=False)
    assert run.history["epoch"] == [1, 2, 3]


class Send(keras.callbacks.Callback):
    """Sends a signal to this process in the middle of an epoch."""

    def __init__(self, number, epoch):
        super().__init__()
        self.number, self.epoch = number, epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            signal.raise_signal(self.number)


def test_sigterm_keeps_the_model_as_ctrl_c_does(tmp_path):
    out = tmp_path / "run"
    run = aezoo.train(small("dense_ae"), "digits", 9, out, verbose=False,
                      callbacks=(Send(signal.SIGTERM, 1),))  # fmt: skip
    assert run.interrupted
    assert run.signal == signal.SIGTERM
    assert run.history["epoch"] == [1, 2]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    names = {"model.keras", "config.json", "history.csv", "checkpoint-0002.keras"}
    assert {path.name for path in out.iterdir()} == names
    for one, two in zip(aezoo.load_model(out).get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_sigterm_outside_the_steps_leaves_nothing_half_written(tmp_path, monkeypatch):
    out = tmp_path / "run"

    def save(self, path, *args, **kwargs):
        path.write_bytes(b"half")
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "save_checkpoint", lambda *_: None)
    model = small("dense_ae")
    monkeypatch.setattr(type(model), "save", save)
    with pytest.raises(Terminated):
        aezoo.train(model, "digits", 1, out, verbose=False)
    assert {path.name for path in out.iterdir()} == {"config.json", "history.csv"}
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_handler_of_the_program_stays(tmp_path):
    seen = []
    signal.signal(signal.SIGTERM, lambda *_: seen.append(True))
    try:
        run = aezoo.train(small("dense_ae"), "digits", 2, verbose=False,
                          callbacks=(Send(signal.SIGTERM, 0),))  # fmt: skip
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert seen == [True]
    assert not run.interrupted


def test_sigterm_to_the_command_line_exits_with_143(monkeypatch, tmp_path, capsys):
    """Where the training was stopped, and where a signal came before or behind its steps."""
    run = aezoo.Run(None, {}, {}, tmp_path, True, int(signal.SIGTERM))
    command = ["aezoo", "train", "dense_ae", "--out", str(tmp_path / "run")]
    original = aezoo.train
    for behaviour in ({"return_value": run}, {"side_effect": Terminated}):
        train = functools.update_wrapper(Mock(**behaviour), original)  # options are its arguments
        monkeypatch.setattr(aezoo, "train", train)
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as exit:
            main()
        assert exit.value.code == 143


@pytest.mark.parametrize(
    "epoch", [pytest.param(epoch, marks=pytest.mark.slow) for epoch in (None, 1)] + [3]
)
def test_a_disk_without_room_ends_in_a_sentence_and_loses_no_epoch(epoch, tmp_path):
    """Before the first epoch, at the checkpoint behind the third, at the model in the end."""
    trouble = contextlib.ExitStack()
    callback = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda done, _: trouble.enter_context(full_disk(600)) if done == epoch else 0
    )
    make = lambda: small("dense_ae", hidden_units=(16,))  # noqa: E731
    options = {"batch_size": 64, "limit": SAMPLES, "seed": 3, "verbose": False}
    whole = aezoo.train(make(), "digits", 4, tmp_path / "whole", **options)
    out = tmp_path / "run"
    with trouble:
        if epoch is None:
            trouble.enter_context(full_disk(600))
        with pytest.raises(OSError, match=r"The disk is full or not writable .*Received: .*run"):
            aezoo.train(make(), "digits", 4, out, callbacks=(callback,), **options)
    assert not list(out.glob(".*"))
    kept = sorted(path.name for path in out.glob("*.keras"))
    assert kept == ([] if epoch is None else [f"checkpoint-{epoch + 1:04}.keras"])
    assert_same_run(whole, aezoo.train(make(), "digits", 4, out, resume=epoch is not None,
                                       **options))  # fmt: skip


def test_older_checkpoints_that_a_kill_left_are_removed(tmp_path):
    """A kill between the writing of one and the removal of the one before leaves both."""
    out = tmp_path / "run"
    make = lambda: small("dense_ae", hidden_units=(16,))  # noqa: E731
    with pytest.raises(RuntimeError):
        aezoo.train(make(), "digits", 3, out, verbose=False,
                    callbacks=(StopAfter(2, RuntimeError()),))  # fmt: skip
    for number in (0, 1):
        shutil.copy(out / "checkpoint-0002.keras", out / f"checkpoint-000{number}.keras")
    aezoo.train(make(), "digits", 3, out, resume=True, verbose=False)
    assert {path.name for path in out.iterdir()} == FILES
    (out / "checkpoint-0003.keras").write_bytes(b"")  # a kill behind the metrics leaves it
    aezoo.train(make(), "digits", 3, out, resume=True, verbose=False)
    assert {path.name for path in out.iterdir()} == FILES


def test_augmentation_stays_in_the_range_of_the_data():
    """A mean of ones may round to 1.0000001, which `fit` refuses, late in a training."""
    ones = aezoo.data.load(np.ones((256, 8, 8, 1), "float32"), batch_size=256)
    for batch in augmented(ones, 0.3, seed=0):
        np.testing.assert_array_equal(batch, np.ones((256, 8, 8, 1)))


KILLED = ("vae", {"hidden_units": (16,), "warmup_steps": 9})
EPOCHS = 30
RECIPE = {"batch_size": 64, "augment": 0.05, "early_stopping": 50, "seed": 4}


def train_to_be_killed(out):
    options, going_on = {"limit": SAMPLES, "verbose": False, **RECIPE}, out.exists()
    aezoo.train(small(KILLED[0], **KILLED[1]), "digits", EPOCHS, out, resume=going_on, **options)


@pytest.mark.slow
def test_30_kills_at_any_moment_change_nothing(tmp_path):
    """Every file that is left loads or is ignored, and the runs end as one without a kill."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.test_resume"])

    def begin(out):
        process = processes.Process(target=train_to_be_killed, args=(out,))
        process.start()
        while process.exitcode is None and not (out / ".lock").exists():
            time.sleep(0.01)  # a kill while modules are imported shows nothing
        return process

    def finish(out, process=None):
        process = process or begin(out)
        process.join(600)
        assert process.exitcode == 0
        return aezoo.load_model(out), (out / "history.csv").read_text().splitlines()

    process = begin(tmp_path / "whole")
    started = time.monotonic()
    whole, rows = finish(tmp_path / "whole", process)
    longest = time.monotonic() - started
    delays = np.random.default_rng(0)
    kills, runs = 0, []
    while kills < 30:
        out = tmp_path / f"run-{len(runs)}"
        runs.append(out)
        while kills < 30:
            process = begin(out)
            process.join(delays.uniform(0, longest))
            if process.exitcode is not None:
                assert process.exitcode == 0
                break
            process.kill()
            process.join()
            kills += 1
            left = sorted(path.name for path in out.iterdir()) if out.exists() else []
            print(f"kill {kills} of {out.name}: {', '.join(left) or 'nothing'}")
            for name in left:
                if name.endswith(".keras") and not name.startswith(".writing-"):
                    aezoo.load_model(out / name)
                elif name.endswith(".json") and not name.startswith(".writing-"):
                    json.loads((out / name).read_text())
    for out in runs:
        model, found = finish(out)
        for one, two in zip(bits(whole), bits(model), strict=True):
            np.testing.assert_array_equal(one, two)
        strip = lambda lines: [line.rsplit(",", 1)[0] for line in lines]  # noqa: E731  seconds
        assert strip(found) == strip(rows)
        assert {path.name for path in out.iterdir()} == FILES
