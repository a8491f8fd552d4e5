"""Only the rooms that may import TensorFlow do; without it the zoo trains on JAX."""

import ast
import graphlib
import pathlib
import sys
from fnmatch import fnmatch

import keras
import pytest

import aezoo
from tests.conftest import ROOT, run_python

PACKAGE = pathlib.Path(aezoo.__file__).parent
MAY_IMPORT_TENSORFLOW = ("data/*", "*/tensorflow_*.py")


def imports(path):
    """(module, is inside a function) of each import statement."""
    tree = ast.parse(path.read_text())
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((name.name, id(node) in inside) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = (node.module, *(f"{node.module}.{name.name}" for name in node.names))
            yield from ((name, id(node) in inside) for name in names)


def test_tensorflow_and_private_apis():
    seen = False
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        for module, _ in imports(path):
            if module.split(".")[0] in ("tensorflow", "tensorflow_datasets"):
                assert any(fnmatch(name, glob) for glob in MAY_IMPORT_TENSORFLOW), name
                seen = True
            assert not module.startswith(("keras.src", "tensorflow.python")), name
    assert seen


def test_any_module_can_be_the_first_that_is_imported():
    """No circle of imports, so that the command line can begin with any of them."""
    graph = {}
    for path in PACKAGE.rglob("*.py"):
        parts = ("aezoo", *path.relative_to(PACKAGE).with_suffix("").parts)
        graph[".".join(parts).removesuffix(".__init__")] = path
    above = {
        name: {module for module, inside in imports(path) if not inside and module in graph}
        - {name, "aezoo"}
        for name, path in graph.items()
    }
    assert "aezoo.models.vae" in above["aezoo.models"]
    tuple(graphlib.TopologicalSorter(above).static_order())  # raises CycleError


def test_models_know_nothing_of_data_and_data_nothing_of_models():
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        for module, _ in imports(path):
            if name.startswith("models/"):
                assert not module.startswith("aezoo.data"), name
            if name.startswith("data/"):
                assert not module.startswith(("aezoo.models", "aezoo.model_classes.autoencoder")), (
                    name
                )


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["dense_ae", "pca_ae", "vae"], id="few"),
        pytest.param(aezoo.list_models(), id="all", marks=pytest.mark.slow),
    ],
)
def test_the_zoo_trains_on_jax_where_tensorflow_is_absent(names):
    script = """if True:
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("tensorflow", "tensorflow_datasets"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Absent())
        import aezoo, keras, numpy as np
        from tests.conftest import most, small
        assert keras.backend.backend() == "jax"
        x = aezoo.data.arrays("digits")[:256]
        for name in sys.argv[1:]:
            model = small(name)
            seen = x if model.corruption is None else model.corrupt(x, seed=0)
            untrained = np.square(model.reconstruct(seen) - x / 255)
            losses = model.fit(x, validation_data=x, epochs=most(model, 3), verbose=0).history
            trained = np.square(model.reconstruct(seen) - x / 255)
            assert trained.mean() < untrained.mean(), name
            assert losses["val_loss"][-1] <= losses["val_loss"][0], name
            assert model.code_size is None or len(model.encode(x)) == 256
        assert not any(name.split(".")[0] == "tensorflow" for name in sys.modules)
    """
    quickly = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    environment = {"KERAS_BACKEND": "jax", "XLA_FLAGS": quickly}
    done = run_python("-c", script, *names, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr


def test_no_model_class_is_more_than_three_deep():
    found = {}
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("aezoo"):
            for thing in vars(module).values():
                if isinstance(thing, type) and issubclass(thing, keras.Model):
                    lineage = [base for base in thing.__mro__ if issubclass(base, keras.Model)]
                    ours = [base for base in lineage if base.__module__.startswith("aezoo")]
                    found[thing.__name__] = len(ours)
    assert found["VariationalAutoencoder"] == 3
    assert max(found.values()) <= 3, found
