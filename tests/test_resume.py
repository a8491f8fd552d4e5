"""A resumed run is the run that nothing interrupted, to the bit."""

import csv
import json

import keras
import numpy as np
import pytest

import aezoo
from aezoo._recorder import draws_of
from tests.conftest import small
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
        ("vq_vae", None, (1,)),
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
        dying.setattr("aezoo._training._finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(out, resume=True)
    assert_same_run(whole, run(out, resume=True))


def test_a_streamed_source_goes_on_in_its_order(tmp_path, monkeypatch):
    from aezoo.data import _load

    monkeypatch.setattr(
        _load.load, "__kwdefaults__", {**_load.load.__kwdefaults__, "memory_limit": 1}
    )
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
