"""Wrong calls of factories and what they are told, word for word, as users read it.

`wrong_calls.txt` has each call and, below it, the error.
"""

import numpy as np
import pytest

import aezoo
from tests.conftest import ROOT, small

LINES = (ROOT / "tests" / "wrong_calls.txt").read_text().splitlines()
CALLS = list(zip(LINES[::2], map(str.strip, LINES[1::2]), strict=True))


@pytest.mark.parametrize(("call", "expected"), CALLS, ids=[call for call, _ in CALLS])
def test_the_error_is_the_sentence_of_the_table(call, expected):
    with pytest.raises((ValueError, TypeError, FileNotFoundError)) as raised:
        eval(call, {"aezoo": aezoo, "np": np})
    assert f"{type(raised.value).__name__}: {raised.value}" == expected


def test_the_table_has_sixty_calls_and_none_that_ends_otherwise():
    assert len(CALLS) >= 60
    endings = [told for _, told in CALLS if told.startswith("ValueError")]
    assert all(" must " in told and "Received: " in told for told in endings)


def test_arguments_by_position_work_and_say_how_they_will_have_to_be_given():
    with pytest.warns(FutureWarning, match=r"dense_ae\(\.\.\., hidden_units=\(16,\), activation="):
        by_position = aezoo.dense_ae((8, 8, 1), 4, (16,), "relu", seed=0)
    by_name = aezoo.dense_ae((8, 8, 1), 4, hidden_units=(16,), activation="relu", seed=0)
    assert by_position.recipe == by_name.recipe
    for one, other in zip(by_position.get_weights(), by_name.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(TypeError, match=r"dense_ae\(\) too many positional arguments"):
        aezoo.dense_ae((8, 8, 1), 4, (16,), "relu", None, "sigmoid", 0)
    with pytest.raises(TypeError, match=r"dense_ae\(\)"):
        aezoo.dense_ae((8, 8, 1), 4, (16,), hidden_units=(16,))


def test_a_factory_of_a_user_keeps_its_own_signature():
    from aezoo.models import _registry

    def mine(sizes, factor=2.0):
        """Minimises nothing."""
        return small("dense_ae", latent_dim=int(factor * sizes))

    try:
        build = aezoo.register(mine)
        assert build(2, 3.0).code_size == 6
        assert aezoo.create("mine", sizes=2).recipe == {"model": "mine", "arguments": {"sizes": 2}}
        assert "mine" in aezoo.list_models()
    finally:
        del _registry._FACTORIES["mine"]
