"""The examples in the docstrings run, and every public name has a docstring."""

import doctest
import importlib
import inspect
import pkgutil
import sys

import keras
import numpy as np
import pytest

import aezoo

MODULES = [
    module.name
    for module in pkgutil.walk_packages(aezoo.__path__, "aezoo.")
    if module.name != "aezoo.__main__"
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    module = importlib.import_module(module)
    names = {"aezoo": aezoo, "keras": keras, "np": np, "sys": sys}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(module, extraglobs=names, optionflags=flags)
    assert result.failed == 0
    assert module.__doc__


def test_every_public_name_has_a_docstring_of_its_own():
    rooms = [aezoo, aezoo.data, aezoo.layers, aezoo.plots, aezoo.callbacks]
    for room in rooms:
        for name in dir(room):
            thing = getattr(room, name)
            if name.startswith("_") or not callable(thing):
                continue
            if getattr(thing, "__module__", "").startswith("aezoo"):
                assert inspect.getdoc(thing), name
