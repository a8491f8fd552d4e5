"""What `sparse_ae` alone promises."""

import numpy as np
import pytest

import aezoo
from tests.conftest import quick_for


@pytest.mark.parametrize("penalty", quick_for(("l1", "top_k"), ("l1", "kl", "top_k")))
def test_the_penalty_makes_codes_sparse_and_history_tells(penalty, digits):
    weights = {"l1": 0.3, "kl": 0.3, "top_k": None}
    active = []
    for weight in (0.0, weights[penalty]):
        model = aezoo.sparse_ae(
            (8, 8, 1),
            64,
            penalty=penalty,
            penalty_weight=weight,
            rate=0.1,
            hidden_units=(),
            learning_rate=0.01,
            seed=0,
        )
        history = model.fit(digits, epochs=8, validation_split=0.1, verbose=0).history
        active.append(history["active"][-1])
        assert history["val_active"][-1] == pytest.approx(active[-1], abs=0.05)
        codes = model.encode(digits)
        assert (codes > (0.5 if penalty == "kl" else 0)).mean() == pytest.approx(
            active[-1], abs=0.05
        )
    if penalty == "top_k":
        assert ((codes != 0).sum(1) <= 6).all()
    else:
        assert active[1] < 0.7 * active[0]


def test_kl_leads_to_the_target_rate(digits):
    model = aezoo.sparse_ae(
        (8, 8, 1),
        32,
        penalty="kl",
        penalty_weight=1.0,
        rate=0.05,
        hidden_units=(),
        learning_rate=0.01,
        seed=0,
    )
    model.fit(digits, epochs=15, verbose=0)
    assert model.encode(digits).mean() == pytest.approx(0.05, abs=0.015)


def test_the_loss_is_the_error_and_the_penalty(digits):
    x = digits[:64] / np.float32(255)
    model = aezoo.sparse_ae(
        (8, 8, 1), 20, penalty="l1", penalty_weight=0.5, hidden_units=(), seed=0
    )
    found = model.evaluate(x, verbose=0, batch_size=64, return_dict=True)
    assert found["loss"] == pytest.approx(
        found["mse"] + 0.5 * np.abs(model.encode(x)).mean(), rel=1e-5
    )
    model = aezoo.sparse_ae(
        (8, 8, 1), 20, penalty="kl", penalty_weight=0.5, rate=0.2, hidden_units=(), seed=0
    )
    found = model.evaluate(x, verbose=0, batch_size=64, return_dict=True)
    rate = model.encode(x).mean(0)
    divergence = 0.2 * np.log(0.2 / rate) + 0.8 * np.log(0.8 / (1 - rate))
    assert found["loss"] == pytest.approx(found["mse"] + 0.5 * divergence.mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty": "l2"}, "`penalty`"),
        ({"penalty_weight": -1.0}, "`penalty_weight`"),
        ({"rate": 0.0}, "`rate`"),
        ({"rate": 1.5}, "`rate`"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=f"{message}.*Received"):
        aezoo.sparse_ae((8,), 4, **options)
