"""Exported files give what the model gives, in other programs than Keras."""

import keras
import numpy as np
import pytest

import aezoo
from tests.conftest import is_closed_form, quick_for, small

FEW = ("dense_ae", "pca_ae", "vq_vae")  # in the fast tests: a net, a closed form, integer tokens


@pytest.fixture(params=quick_for(FEW))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def trained(digits):
    """Small models that have learnt something, made once."""
    found = {}

    def get(name):
        if name not in found:
            model = small(name, latent_dim=16)
            model.run_eagerly = not is_closed_form(name)
            model.fit(digits[:320], batch_size=16, epochs=1, verbose=0)
            found[name] = model
        return found[name]

    return get


def test_saved_model(name, trained, digits, tmp_path):
    import tensorflow as tf

    model = trained(name)
    found = aezoo.export(model, tmp_path / "model", data=digits)
    served = tf.saved_model.load(found.path)
    x = (digits[:7] / 255).astype("float32")
    np.testing.assert_allclose(served.serve(x), model.reconstruct(x), atol=1e-5)
    assert found.mse == pytest.approx(found.model_mse, rel=1e-3)


def test_onnx(name, trained, digits, tmp_path):
    import onnxruntime

    model = trained(name)
    found = aezoo.export(
        model, tmp_path / "encoder.onnx", "onnx", "encoder", input_dtype="uint8", data=digits
    )
    session = onnxruntime.InferenceSession(found.path)
    for count in (1, 9):
        (codes,) = session.run(None, {session.get_inputs()[0].name: digits[:count]})
        np.testing.assert_allclose(codes, model.encode(digits[:count]), rtol=1e-4, atol=1e-5)
    assert found.size == found.path.stat().st_size


@pytest.mark.slow
def test_litert(name, trained, digits, tmp_path):
    model = trained(name)
    found = aezoo.export(model, tmp_path / "model.tflite", "litert", data=digits)
    x = (digits[:5] / 255).astype("float32")
    np.testing.assert_allclose(run_litert(found.path, x), model.reconstruct(x), atol=1e-5)


@pytest.mark.slow
def test_int8(name, trained, digits, tmp_path):
    model = trained(name)
    found = aezoo.export(model, tmp_path / "model.tflite", "litert", quantize="int8", data=digits)
    assert found.mse < 1.5 * found.model_mse
    x = (digits[:5] / 255).astype("float32")
    assert np.square(run_litert(found.path, x) - x).mean() < 2 * found.model_mse


def test_every_part_in_any_dtype_and_two_inputs(trained, digits, labelled, tmp_path):
    model = trained("dense_ae")
    aezoo.export(model, tmp_path / "decoder.onnx", "onnx", "decoder")
    found = aezoo.export(model, tmp_path / "pixels.tflite", "litert", input_dtype="uint8")
    np.testing.assert_allclose(
        run_litert(found.path, digits[:3]), model.reconstruct(digits[:3]), atol=1e-5
    )
    conditional = small("vae", num_classes=10)
    for format, suffix in (("saved_model", ""), ("onnx", ".onnx"), ("litert", ".tflite")):
        found = aezoo.export(conditional, tmp_path / f"vae{suffix}", format, data=digits)
        assert found.difference < 1e-5
    data = aezoo.data.load("digits", labels=True, shuffle=False)
    found = aezoo.export(conditional, tmp_path / "vae", data=data, overwrite=True)
    x, y = (part[:256] for part in aezoo.data.arrays("digits", labels=True))
    expected = conditional.reconstruction_error(x, labels=y).mean()
    assert found.model_mse == pytest.approx(expected, rel=1e-4)


def test_lower_precisions_are_exported_in_float32(digits, tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small("conv_ae")
        found = aezoo.export(model, tmp_path / "model.onnx", "onnx", data=digits)
        assert found.difference < 1e-5
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "h5"}, "`format`"),
        ({"part": "head"}, "`part`"),
        ({"format": "onnx"}, r"`path` must end in \.onnx"),
        ({"quantize": "int8"}, "`quantize` must go with format 'litert' and with data"),
        ({"quantize": "int4"}, "`quantize`"),
        ({"input_dtype": "uint16"}, "`input_dtype`"),
        ({"part": "decoder", "input_dtype": "uint8"}, "`input_dtype` must be 'float32'"),
        ({"data": np.zeros((3, 5, 5, 1), "uint8")}, "shape"),
    ],
)
def test_wrong_arguments_are_named_and_nothing_is_written(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=f"{message}.*Received: "):
        aezoo.export(small("pca_ae"), **{"path": tmp_path / "model", **arguments})
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_or_fails_leaves_the_old_one(digits, tmp_path, monkeypatch):
    from aezoo.exporting import exporter as _export

    model, path = small("pca_ae"), tmp_path / "model.onnx"
    path.write_text("old")
    with pytest.raises(ValueError, match=r"`path` must be new"):
        aezoo.export(model, path, "onnx")
    with pytest.raises(ValueError, match="must be a SavedModel to be replaced"):
        aezoo.export(model, tmp_path, overwrite=True)
    monkeypatch.setitem(_export.RUNNERS, "onnx", lambda path: lambda inputs: 1.01 * inputs[0])
    with pytest.raises(ValueError, match=r"same results as onnx.*Received: pca_ae, a difference"):
        aezoo.export(model, path, "onnx", overwrite=True)

    def full(trial, path, quantize):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(_export.WRITERS, "onnx", full)
    with pytest.raises(OSError, match="No space left"):
        aezoo.export(model, path, "onnx", overwrite=True)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_command_line(digits, tmp_path):
    from typer.testing import CliRunner

    from aezoo.cli.app import app

    run = tmp_path / "run"
    aezoo.train(aezoo.pca_ae((8, 8, 1), 8), "digits", out=run, verbose=False)
    arguments = ["export", run, "--format", "litert", "--part", "encoder", "--quantize", "int8"]
    done = CliRunner().invoke(app, [*map(str, arguments), "--input-dtype", "uint8"])
    assert done.exit_code == 0, done.output
    assert (run / "encoder.tflite").is_file()
    assert "without quantisation" in done.output
    assert "mean squared error" in done.output


def run_litert(path, x):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    (inputs,), (outputs,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(inputs["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(inputs["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(outputs["index"])
