"""How a network is written in each format of `aezoo.export`, and how what was written is run."""

from __future__ import annotations

import logging

import keras
import numpy as np

SUFFIXES = {"saved_model": "", "onnx": ".onnx", "litert": ".tflite"}
PACKAGES = {"onnx": ("tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",)}
# The newest that tf2onnx 1.17 writes; its default is 15.
OPSET = 18


def rebuilt(model, unroll: bool):
    """The model in float32, and with its recurrent layers unrolled where LiteRT needs that."""
    config = keras.saving.serialize_keras_object(model)
    # What a model is trained with is no part of the file, and its dtypes need no change.
    config.pop("compile_config", None)
    changed = _changed(config, unroll)
    # A model that needs no change is taken as it is, which keeps one copy of its weights.
    if changed == config:
        return model
    found = keras.saving.deserialize_keras_object(changed)
    found.set_weights(model.get_weights())
    return found


def _changed(config, unroll: bool):
    if isinstance(config, (list, tuple)):
        return type(config)(_changed(part, unroll) for part in config)
    if not isinstance(config, dict):
        return config
    # Most layers hold their dtype as a policy, input layers as a plain name.
    if config.get("class_name") == "DTypePolicy":
        return {**config, "config": {**config["config"], "name": "float32"}}
    found = {key: _changed(value, unroll) for key, value in config.items()}
    if found.get("dtype") in ("float16", "bfloat16", "float64"):
        found["dtype"] = "float32"
    # TensorFlow's loop over steps collects outputs in a list of tensors, which LiteRT converts only
    # for a fixed batch size.
    if unroll and "unroll" in found:
        found["unroll"] = True
    return found


def _signature(trial):
    import tensorflow as tf

    names = ["codes" if trial.part == "decoder" else "inputs", "labels"]
    return [
        tf.TensorSpec((None, *part.shape[1:]), part.dtype, name)
        for part, name in zip(trial.inputs, names, strict=False)
    ]


def _write_saved_model(trial, path, quantize) -> None:
    archive = keras.export.ExportArchive()
    archive.track(trial.network)
    archive.add_endpoint("serve", trial.function, input_signature=_signature(trial))
    archive.write_out(str(path), verbose=False)


def _write_onnx(trial, path, quantize) -> None:
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    function = tf.function(trial.function, input_signature=_signature(trial))
    handlers = {"Erfc": (_erfc, [])}
    tf2onnx.convert.from_function(
        function, function.input_signature, opset=OPSET, output_path=str(path),
        custom_op_handlers=handlers,
    )  # fmt: skip


def _erfc(context, node, name, arguments):
    """The complementary error function of exact GELU, which ONNX has not: 1 - erf(x)."""
    one = context.make_const(f"{name}_one", np.float32(1)).output[0]
    node.type = "Erf"
    context.insert_new_node_on_output("Sub", node.output[0], inputs=[one, node.output[0]])
    return node


def _write_litert(trial, path, quantize) -> None:
    import tensorflow as tf

    folder = path.with_name("saved_model")
    # The int8 file is written after the float one, from the same SavedModel.
    if not folder.exists():
        _write_saved_model(trial, folder, None)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    if quantize:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [part[i : i + 1] for part in trial.calibration]
            for i in range(len(trial.calibration[0]))
        )
    path.write_bytes(converter.convert())


def _run_saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda inputs: loaded.serve(*inputs).numpy()


def _run_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [part.name for part in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))[0]


def _run_litert(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))

    def run(inputs):
        details = interpreter.get_input_details()
        # LiteRT lists inputs in an order of its own; their names contain those of the signature.
        details.sort(key=lambda detail: "labels" in detail["name"])
        # A tensor has room for one sample until it is resized.
        for detail, part in zip(details, inputs, strict=True):
            interpreter.resize_tensor_input(detail["index"], part.shape)
        interpreter.allocate_tensors()
        for detail, part in zip(details, inputs, strict=True):
            interpreter.set_tensor(detail["index"], part)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    return run


WRITERS = {"saved_model": _write_saved_model, "onnx": _write_onnx, "litert": _write_litert}
RUNNERS = {"saved_model": _run_saved_model, "onnx": _run_onnx, "litert": _run_litert}
