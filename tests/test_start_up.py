"""The command line before anything is trained: options, recipes, what is imported, closed pipes."""

import json
import os
import subprocess
import sys
from typing import Annotated, Optional

import pytest

from aezoo.cli.app import main
from aezoo.cli.options import options, parse
from aezoo.cli.recipe_files import read_recipe


def factory(
    a: int,
    b: int | None = None,
    c: Optional[float] = None,  # noqa: UP045  as people write it
    d: bool = False,
    e: int | tuple[int, int] = 3,
    f: tuple[int, ...] = (),
    g: float | str = "learnt",
    h: Annotated[int, "counted"] = 1,
    i: int | str = "all",
    j: str = "",
    k=None,
):
    """A factory of a file without `from __future__ import annotations`.

    Args:
        a: The first.
    """


def test_options_have_the_types_of_real_annotations():
    found = options(factory, ())
    kinds = {key: parameter.annotation.__origin__ for key, parameter in found.items()}
    expected = {"a": int, "b": int, "c": float, "d": bool, "e": str, "f": str, "g": str,
                "h": int, "i": str, "j": str, "k": str}  # fmt: skip
    assert kinds == {key: kind | None for key, kind in expected.items()}
    assert parse("e", "5", factory) == 5
    assert parse("e", "5,6", factory) == (5, 6)
    assert parse("f", "5", factory) == (5,)
    assert parse("g", "0.5", factory) == 0.5
    assert parse("g", "learnt", factory) == "learnt"
    assert parse("i", "5", factory) == 5
    assert parse("j", "5", factory) == "5"
    assert parse("k", "5", factory) == "5"


@pytest.mark.parametrize("key", ["out", "overwrite", "data", "resume"])
def test_a_recipe_holds_settings_only(key, tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(f'model = "dense_ae"\ndata = "digits"\n[training]\n{key} = "x"\n')
    with pytest.raises(ValueError, match=rf"`training` must hold only epochs.*Received: '{key}'"):
        read_recipe(str(path))
    path.write_text('model = "dense_ae"\ndata = "digits"\n[arguments]\ninput_shape = [8]\n')
    with pytest.raises(ValueError, match=r"`arguments` must hold only .*Received: 'input_shape'"):
        read_recipe(str(path))


def test_a_run_to_resume_holds_settings_only(tmp_path, monkeypatch, capsys):
    content = {"model": "dense_ae", "arguments": {"latent_dim": 4}, "data": "digits",
               "training": {"epochs": 1, "out": "elsewhere"}}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(content))
    command = ["aezoo", "train", "dense_ae", "--resume", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as exit:
        main()
    assert exit.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: `training` must hold only epochs")
    assert line.endswith("Received: 'out'")


@pytest.mark.parametrize("arguments", [("train", "--help"), ("list",)])
def test_a_reader_that_goes_away_is_no_error(arguments):
    """As `aezoo train --help | head -1` does."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "aezoo", *arguments]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.returncode == 141  # as a shell says it of SIGPIPE
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",), ("list",), ("evaluate", "--help"), ("train", "--help"), ("trian",),
        ("train", "dense_ea"), ("detect", "--rat"),
    ],
)  # fmt: skip
def test_help_and_typos_do_not_wait_for_keras(arguments):
    code = f"""
import sys
from aezoo.cli.app import main
sys.argv = ["aezoo", *{arguments!r}]
try:
    main()
except SystemExit:
    sys.exit(len({{"keras", "tensorflow", "sklearn"}} & set(sys.modules)))
assert not {{"keras", "tensorflow", "sklearn"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert any(word in done.stdout + done.stderr for word in ("Usage: aezoo", "dense_ae"))


def test_public_names():
    import aezoo

    assert {"dense_ae", "vae", "data", "train", "Autoencoder", "__version__"} <= set(dir(aezoo))
    for name in dir(aezoo):
        assert getattr(aezoo, name) is not None
    with pytest.raises(AttributeError, match="module 'aezoo' has no attribute 'dense_ea'"):
        _ = aezoo.dense_ea
    with pytest.raises(ImportError, match="cannot import name 'dense_ea' from 'aezoo'"):
        from aezoo import dense_ea  # noqa: F401
