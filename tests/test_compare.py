"""Models in equal time: the budget, the table, and what is refused."""

import json
import time

import keras
import numpy as np
import pytest

import aezoo
from aezoo.callbacks import TimeBudget
from tests.conftest import small


@pytest.fixture(scope="module")
def comparison():
    models = {
        "dense": lambda seed: small("dense_ae", seed=seed, hidden_units=(32,)),
        "closed <form>": lambda seed: small("pca_ae", seed=seed),
    }
    return aezoo.compare(models, "digits", minutes=0.03, seeds=2, verbose=False)


def test_every_model_has_the_same_time(comparison):
    dense = [run for run in comparison.runs if run["model"] == "dense"]
    assert [run["seed"] for run in dense] == [0, 1]
    for run in dense:
        assert run["epochs"] >= 1  # more, unless the first one takes the time
        assert 1.5 < run["seconds"] < 30
    assert dense[0]["mse"] != dense[1]["mse"]
    rows = {row["model"]: row for row in comparison.rows}
    assert list(rows) == ["dense", "closed <form>", "PCA 4"]
    errors = [run["mse"] for run in dense]
    assert rows["dense"]["mse"] == pytest.approx(
        {"mean": np.mean(errors), "spread": np.std(errors, ddof=1)}
    )
    assert rows["dense"]["seeds"] == 2
    assert rows["closed <form>"]["mse"]["spread"] == 0
    assert rows["closed <form>"]["epochs"]["mean"] == 1
    assert rows["PCA 4"]["knn"]["mean"] > 0.5


def test_the_table_prints_and_is_json(comparison):
    text = str(comparison)
    assert "digits, 0.03 minutes for each training" in text
    assert "closed <form>" in text
    assert "±" in text
    assert "closed &lt;form&gt;" in comparison._repr_html_()
    content = json.loads(comparison.to_json())
    assert len(content["runs"]) == 5
    assert content["rows"][0]["model"] == "dense"


def test_arrays_and_names_of_the_zoo_without_labels():
    x = np.random.default_rng(0).random((60, 6)).astype("float32")
    found = aezoo.compare(["pca_ae"], x, minutes=0.01, seeds=1, verbose=False)
    assert set(found.rows[0]) == {
        "model", "seeds", "mse", "epochs", "seconds", "code_size", "parameters"
    }  # fmt: skip


def test_what_cannot_be_compared_is_refused():
    cases = {
        "did you mean 'conv_ae'": ["conv_a"],
        "names of the zoo, or functions": [3],
        "at least one model": [],
        "where names repeat": ["pca_ae", "pca_ae"],
        "must be an Autoencoder": [lambda seed: keras.Sequential(name="own")],
        "takes labels too": [lambda seed: small("vae", num_classes=10)],
    }
    for sentence, models in cases.items():
        with pytest.raises(ValueError, match=f"{sentence}.*Received: "):
            aezoo.compare(models, "digits", minutes=0.01, verbose=False)
    for name, value in {"minutes": -1, "seeds": 0, "batch_size": 0}.items():
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            aezoo.compare(["pca_ae"], "digits", **{name: value})


def test_a_time_budget_ends_within_an_epoch_and_gives_the_learning_rate_back(digits):
    class Watch(keras.callbacks.Callback):
        sees_blocks = True

        def on_train_begin(self, logs=None):
            self.rates = []

        def on_epoch_end(self, epoch, logs=None):
            self.rates.append(float(self.model.optimizer.learning_rate))

    model = small("dense_ae", learning_rate=0.01, jit_compile=False)
    model.fit(digits, epochs=1, verbose=0)
    watch, begun = Watch(), time.perf_counter()
    model.fit(digits, epochs=100_000, verbose=0, callbacks=[TimeBudget(1.5), watch])
    assert 1.4 < time.perf_counter() - begun < 30
    assert watch.rates[-1] < 0.005
    assert watch.rates == sorted(watch.rates, reverse=True)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    model.fit(digits, epochs=100_000, verbose=0, callbacks=[TimeBudget(0.3, decay=False), watch])
    np.testing.assert_allclose(watch.rates, 0.01, rtol=1e-6)
    history = model.fit(digits, epochs=9, verbose=0, callbacks=[TimeBudget(0.0)])
    assert len(history.epoch) == 1
    schedule = keras.optimizers.schedules.CosineDecay(0.01, 1000)
    model = small("dense_ae", optimizer=keras.optimizers.Adam(schedule))
    model.fit(digits, epochs=100_000, verbose=0, callbacks=[TimeBudget(0.2)])
    with pytest.raises(ValueError, match="`seconds` must be a number"):
        TimeBudget(-1)
