"""A "yes" of the table of support is earned by a training of 200 steps on images as MNIST has them.

The quick tests of precisions, backends, distribution and exports train for a few steps on small
digits; some things go wrong only later, or in larger sums.
"""

import json
import os

import keras
import numpy as np
import pytest

import aezoo
from tests.conftest import ROOT, is_closed_form, run_python
from tests.test_distribution import finish_pair, results, start_pair

pytestmark = pytest.mark.slow

MODELS = aezoo.list_models()
STEPS, BATCH = 200, 128
SMALLER = {  # of the defaults, so that the zoo is trained in minutes
    "masked_ae": {"embedding_dim": 64, "patch_size": 7, "depth": 2, "decoder_depth": 1},
    "patch_ae": {"filters": 100},
    "random_feature_ae": {"features": 500},
    "sequence_ae": {"units": 32},
    "unet_ae": {"filters": (8, 16)},
}


def images():
    """1,437 digits, three times as large and with a margin: uint8 (samples, 28, 28, 1)."""
    digits = aezoo.data.arrays("digits")
    large = np.kron(digits[..., 0], np.ones((1, 3, 3), "uint8"))
    return np.pad(large, [(0, 0), (2, 2), (2, 2)])[..., None]


def made(name):
    return aezoo.create(name, (28, 28, 1), seed=0, **SMALLER.get(name, {}))


def trained(model, x):
    """The history of 200 steps, or of the solution of a closed form."""
    if is_closed_form(model.recipe["model"]):
        return model.fit(x, verbose=0).history
    data = {"x": x, "batch_size": BATCH}
    per_epoch = -(-len(x) // BATCH)
    return model.fit(**data, epochs=-(-STEPS // per_epoch), verbose=0).history


def check(name, errors, model):
    assert np.isfinite(errors).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    x = images()
    mean = np.square(x / 255 - x.mean(0) / 255).mean()
    if is_closed_form(name):
        assert errors[-1] < mean
    else:
        assert errors[-1] < errors[0]


@pytest.fixture(scope="module")
def kept():
    """The models that were trained, for the tests of their exports."""
    return {}


@pytest.mark.support
@pytest.mark.parametrize("name", MODELS)
def test_on_this_backend(name, kept):
    model = made(name)
    check(name, trained(model, images())["mse"], model)
    kept[name] = model


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "policy",
    [
        pytest.param("mixed_float16", marks=pytest.mark.support("float16")),
        pytest.param("mixed_bfloat16", marks=pytest.mark.support("bfloat16")),
    ],
)
def test_in_half_precision(name, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = made(name)
        check(name, trained(model, images())["mse"], model)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("format", "suffix", "quantize"),
    [
        pytest.param("saved_model", "", None, marks=pytest.mark.support("saved_model")),
        pytest.param("onnx", ".onnx", None, marks=pytest.mark.support("onnx")),
        pytest.param("litert", ".tflite", None, marks=pytest.mark.support("litert")),
        pytest.param("litert", ".tflite", "int8", marks=pytest.mark.support("int8")),
    ],
)
def test_exported(name, format, suffix, quantize, kept, tmp_path):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras writes these files on TensorFlow alone")
    if name not in kept:
        kept[name] = made(name)
        trained(kept[name], images())
    found = aezoo.export(
        kept[name], tmp_path / f"model{suffix}", format, quantize=quantize, data=images()
    )
    worse = 0.5 if quantize else 1e-3
    assert found.mse == pytest.approx(found.model_mse, rel=worse, abs=1e-4)


@pytest.fixture(scope="session")
def on_two_devices():
    done = run_python("-m", "tests.test_two_hundred_steps", "mirrored", cwd=ROOT, timeout=3000)
    assert done.returncode == 0, done.stderr[-2000:]
    return results(done.stdout)


@pytest.fixture(scope="session")
def on_two_workers():
    pair = start_pair("-m", "tests.test_two_hundred_steps", "multiworker")
    printed = finish_pair(pair, timeout=3000)
    assert [worker.returncode for worker in pair] == [0, 0], printed[0][1][-2000:]
    return [results(text) for text, _ in printed]


@pytest.mark.support("mirrored")
@pytest.mark.parametrize("name", MODELS)
def test_on_two_devices(name, on_two_devices):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("strategies are TensorFlow's")
    assert on_two_devices[name]["good"], on_two_devices[name]


@pytest.mark.support("multi-worker")
@pytest.mark.parametrize("name", MODELS)
def test_on_two_workers(name, on_two_workers):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("strategies are TensorFlow's")
    one, other = (worker[name] for worker in on_two_workers)
    assert one["good"]
    assert one["errors"] == other["errors"]


def under_a_strategy(kind):
    import tensorflow as tf

    if kind == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    for name in MODELS:
        with strategy.scope():
            model = made(name)
        errors = trained(model, images())["mse"]
        try:
            check(name, errors, model)
            good = True
        except AssertionError:
            good = False
        print(json.dumps({"name": name, "good": good, "errors": errors[-1:]}), flush=True)


if __name__ == "__main__":
    import sys

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    under_a_strategy(sys.argv[1])
