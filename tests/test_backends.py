"""The zoo on Keras's other backends: what one saves another loads, and the contract on torch."""

import importlib.util
import os

import numpy as np
import pytest

import aezoo
from tests.conftest import ROOT, run_python

MODELS = aezoo.list_models()
FEW = ["dense_ae", "pca_ae", "vq_vae"]

LOAD_AND_SAVE = """if True:
    import pathlib, sys, keras, numpy as np, aezoo
    assert keras.backend.backend() == sys.argv[3]
    source, target = map(pathlib.Path, sys.argv[1:3])
    for name in sys.argv[4:]:
        path = source / f"{name}.keras"
        model, data = aezoo.load_model(path), np.load(path.with_suffix(".npz"))
        outputs_of = model.reconstruct if model.code_size is None else model.encode
        codes = outputs_of(data["x"])
        np.testing.assert_allclose(codes, data["codes"], rtol=1e-5, atol=1e-5, err_msg=path.name)
        if not isinstance(model, aezoo.ClosedForm):
            assert model.optimizer.iterations == 4, path
        model.set_weights([weight * 0.9 for weight in model.get_weights()])
        model.save(target / path.name)
        np.savez(target / path.stem, x=data["x"], codes=outputs_of(data["x"]))
"""


def needs(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")


@pytest.mark.parametrize(
    ("backend", "names"),
    [
        pytest.param("jax", FEW, id="jax-few"),
        *(pytest.param(b, MODELS, id=b, marks=pytest.mark.slow) for b in ("jax", "torch")),
    ],
)
def test_models_move_between_backends_with_their_codes(backend, names, saved_models, tmp_path):
    needs(backend)
    arguments = ("-c", LOAD_AND_SAVE, saved_models(names), tmp_path, backend, *names)
    environment = {"KERAS_BACKEND": backend, "XLA_FLAGS": "--xla_backend_optimization_level=1"}
    done = run_python(*arguments, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    for name in names:
        data = np.load(tmp_path / f"{name}.npz")
        model = aezoo.load_model(tmp_path / f"{name}.keras")
        codes = (model.reconstruct if model.code_size is None else model.encode)(data["x"])
        np.testing.assert_allclose(codes, data["codes"], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_the_contract_holds_on_torch():
    needs("torch")
    arguments = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_contract.py")
    environment = {"KERAS_BACKEND": "torch", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = run_python(*arguments, cwd=ROOT, env=environment, timeout=3600)
    assert done.returncode == 0, done.stdout[-5000:]


@pytest.mark.slow
def test_torch_forgets_the_gradients_of_the_last_step():
    needs("torch")
    script = """if True:
        import numpy as np, aezoo
        x = np.random.default_rng(0).random((32, 16), "float32")
        model = aezoo.dense_ae((16,), 4, (8,), seed=0, optimizer="sgd", learning_rate=1e-9)
        paths = [weight.path for weight in model.trainable_weights]
        assert len(set(paths)) < len(paths)  # which hides a parameter from torch
        gradients = []
        for _ in range(2):
            model.train_on_batch(x)
            gradients.append([w.value.grad.numpy().copy() for w in model.trainable_weights])
        for one, two in zip(*gradients, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-7)
    """
    done = run_python("-c", script, env={"KERAS_BACKEND": "torch"})
    assert done.returncode == 0, done.stderr
