"""Trained models as files that run without Keras: SavedModel, ONNX and LiteRT."""

from __future__ import annotations

import dataclasses
import importlib
import os
import pathlib
import tempfile
from typing import Literal

import keras
import numpy as np

from aezoo.exporting.tensorflow_formats import PACKAGES, RUNNERS, SUFFIXES, WRITERS, rebuilt
from aezoo.inputs.annotations import Flag, checked
from aezoo.inputs.arguments import check_path, reason_of
from aezoo.inputs.arrays import as_array, batches, check_batches, samples_of, to_numpy
from aezoo.inputs.training_data import check_inputs
from aezoo.layers.reporting import outputs_alone
from aezoo.model_classes.autoencoder import check_code
from aezoo.model_classes.reconstruction_model import ReconstructionModel

SAMPLES = 256
# Of a file that was not quantised, relative to the largest output: float32 sums in another order.
LARGEST_DIFFERENCE = 1e-4
# Of quantisation: the norm of the differences relative to that of the outputs.
LARGEST_NOISE = 0.25


@dataclasses.dataclass
class Export:
    """What `aezoo.export` wrote, and how it compares with the model.

    Attributes:
        path: The file, or the folder of a SavedModel.
        size: Its size in bytes.
        difference: Largest absolute difference of its outputs from the model's.
        mse: Mean squared error of reconstructions by the exported part together with the
            model's other part.
        model_mse: That of the model alone.
        unquantized_size: Size of the same file before quantisation; None if it is not quantised.
    """

    path: pathlib.Path
    size: int
    difference: float
    mse: float
    model_mse: float
    unquantized_size: int | None = None


@checked
def export(
    model: ReconstructionModel,
    path: str | pathlib.Path,
    format: Literal["saved_model", "onnx", "litert"] = "saved_model",
    part: Literal["autoencoder", "encoder", "decoder"] = "autoencoder",
    quantize: Literal["int8"] | None = None,
    *,
    input_dtype: Literal["float32", "uint8"] = "float32",
    data=None,
    overwrite: Flag = False,
) -> Export:
    """Writes a model, or a part of it, as a file that runs without Keras, and tests it.

    The file takes batches of any size and computes in float32, whatever the model's precision;
    noise, random draws and losses are not in it. The written file is run on samples, in two batch
    sizes, and compared with the model; it replaces `path` only if the results agree.

    Args:
        model: An `Autoencoder`, on Keras's TensorFlow backend.
        path: The file to write: `.onnx`, `.tflite`, or a folder for a SavedModel, whose
            endpoints are `serve` and `serving_default`.
        format: "saved_model", "onnx" or "litert"; the last two need the packages of
            `pip install aezoo[export]`.
        part: "autoencoder" for the whole model, "encoder" or "decoder".
        quantize: None, or "int8" for LiteRT's post-training quantisation.
        input_dtype: "float32", or "uint8" for pixels, which are scaled inside the file. A
            decoder takes codes, and float32 only.
        data: Array (samples, *input_shape) or a dataset, of which up to 256 samples are used for
            the comparison. "int8" needs it: ranges are measured on every second sample, and the
            others are compared. A conditional model takes a dataset of (inputs, labels). None is
            uniform noise in [0, 1].
        overwrite: Whether `path` may exist.

    Returns:
        An `Export`.

    Raises:
        ValueError: if an argument is not one of the above, if the model cannot be written in
            this format, or if the file gives other results; nothing is left of it then.
        ModuleNotFoundError: if a package is missing.

    Example:

    >>> model = aezoo.pca_ae((8, 8, 1), latent_dim=4)
    >>> x = aezoo.data.arrays("digits")
    >>> history = model.fit(x, verbose=0)
    >>> found = aezoo.export(model, "encoder", part="encoder", input_dtype="uint8", data=x)
    >>> found.difference < 1e-4
    True
    """
    path = _checked_path(path, format, overwrite)
    if not isinstance(model, ReconstructionModel):
        raise ValueError(f"`model` must be an Autoencoder. Received: {model!r}")
    if part != "autoencoder":
        check_code("model", model)
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`model` must be on Keras's TensorFlow backend to be exported; save it and load it "
            f"there. Received: backend {keras.backend.backend()}"
        )
    if part == "decoder" and input_dtype != "float32":
        raise ValueError(
            f"`input_dtype` must be 'float32' for a decoder. Received: {input_dtype!r}"
        )
    if quantize and (format != "litert" or data is None):
        raise ValueError(
            "`quantize` must go with format 'litert' and with data to measure ranges on. "
            f"Received: format {format!r}, data {'None' if data is None else 'given'}"
        )
    _import_packages(format)
    model = rebuilt(model, unroll=format == "litert")
    trial = _Trial(model, part, input_dtype, data, quantize)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside `path`, as a file can only be replaced in one step within a file system.
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as folder:
        written, before = pathlib.Path(folder) / path.name, None
        try:
            WRITERS[format](trial, written, None)
            if quantize:
                before = _size(written)
                WRITERS[format](trial, written, quantize)
            run = RUNNERS[format](written)
            # One sample alone too: a converter may fix the batch size, or mix samples of a batch.
            found = run(trial.inputs), run([part[:1] for part in trial.inputs])
        except OSError:
            # A full disk is not the model's fault, and keeps its own message.
            raise
        except Exception as error:
            reason = reason_of(error, type(error).__name__, 300)
            raise ValueError(
                f"`model` must be one that {format} can hold ({reason}). Received: {model.name}"
            ) from error
        difference, mse = trial.compare(*found, format, quantize)
        result = Export(path, _size(written), difference, mse, trial.model_mse, before)
        # A folder that is not empty cannot be replaced in one step; the temporary folder takes the
        # old one with it when it is removed.
        old = pathlib.Path(folder) / "before"
        if path.is_dir():
            path.rename(old)
        try:
            os.replace(written, path)
        except OSError:
            if old.is_dir():
                old.rename(path)
            raise
    return result


def _checked_path(path, format, overwrite) -> pathlib.Path:
    path = check_path("path", path)
    if path.suffix != SUFFIXES[format] and SUFFIXES[format]:
        raise ValueError(
            f"`path` must end in {SUFFIXES[format]} for format {format!r}. Received: {path}"
        )
    if path.exists() and not overwrite:
        raise ValueError(f"`path` must be new, or overwrite must be given. Received: {path}")
    folder = format == "saved_model"
    if path.exists() and not (path / "saved_model.pb" if folder else path).is_file():
        raise ValueError(
            f"`path` must be a {'SavedModel' if folder else 'file'} to be replaced. "
            f"Received: {path}"
        )
    return path


def _import_packages(format) -> None:
    for package in PACKAGES.get(format, ()):
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"`format` {format!r} needs {package}; pip install 'aezoo[export]' brings it. "
                f"Received: {error}"
            ) from error


class _Trial:
    """The network to export, samples for it, and what the model makes of them."""

    def __init__(self, model, part, input_dtype, data, quantize):
        self.model, self.part = model, part
        self.network = model if part == "autoencoder" else model.get_layer(part)
        # The samples of the model, also for a decoder: its inputs are their codes.
        pixels, labels = _samples(data, model.inputs[0].shape[1:])
        if input_dtype == "uint8":
            scaled = pixels if pixels.dtype == "uint8" else np.rint(255 * np.clip(pixels, 0, 1))
            pixels = scaled.astype("uint8")
        elif pixels.dtype in ("uint8", "uint16"):
            pixels = pixels / np.float32(np.iinfo(pixels.dtype).max)
        inputs = [pixels.astype(input_dtype)]
        if len(model.inputs) > 1:
            if labels is None:
                # The classes in turn, so that the comparison leaves none of them out.
                labels = np.arange(len(pixels)) % model.num_classes
            inputs.append(labels.astype(model.inputs[1].dtype))
        # Ranges fit the samples they were measured on, so the error is measured on others.
        apart = bool(quantize) and len(pixels) > 1
        self.calibration = self._inputs([each[::2] for each in inputs])
        samples = [each[1::2] for each in inputs] if apart else inputs
        # Outputs are in [0, 1] for inputs of uint8 too, so the error is taken there.
        self.clean = samples[0] / np.float32(255) if input_dtype == "uint8" else samples[0]
        self.labels = samples[1:]
        self.inputs = self._inputs(samples)
        self.expected = self._predict(self.network, self.inputs[0])
        self.model_mse = self._mse(self.expected)

    def compare(self, found, first, format, quantize) -> tuple[float, float]:
        """(largest difference, MSE) of all outputs and those of one sample alone.

        Raises:
            ValueError: if they are not the model's.
        """
        if found.shape != self.expected.shape or first.shape != self.expected[:1].shape:
            raise ValueError(
                f"`model` must give outputs of the same shape as {format} as in Keras, and what "
                f"was written does not, so it was removed. Received: {self.model.name}, "
                f"{found.shape} and {first.shape} for {self.expected.shape}"
            )
        apart = np.abs(found - self.expected)
        # Where all outputs are below 1 the bound is absolute, as the rounding errors of larger
        # values inside of the network do not shrink with the outputs.
        size = max(1.0, float(np.abs(self.expected).max()))
        bound = LARGEST_DIFFERENCE * size
        # Single outputs of int8 may be far off where all of them together are not.
        if quantize:
            far = np.linalg.norm(apart) > LARGEST_NOISE * np.linalg.norm(self.expected)
        else:
            far = apart.max() > bound or np.abs(first - self.expected[:1]).max() > bound
        if far or not (np.isfinite(found).all() and np.isfinite(first).all()):
            raise ValueError(
                f"`model` must give the same results as {format} as in Keras, and what was "
                f"written does not, so it was removed. Received: {self.model.name}, a difference "
                f"of {apart.max():.2g} where the outputs reach {np.abs(self.expected).max():.2g}"
            )
        return float(apart.max()), self._mse(found)

    def function(self, *inputs):
        """What the file computes."""
        with outputs_alone():
            return self.network(_one_or_all(inputs), training=False)

    def _inputs(self, samples):
        """What the network takes: samples or their codes, and labels where there are some."""
        if self.part != "decoder":
            return samples
        return [self.model.encoder.predict(_one_or_all(samples), SAMPLES, verbose=0), *samples[1:]]

    def _predict(self, network, x):
        inputs = [x, *self.labels][: len(network.inputs)]
        return network.predict(_one_or_all(inputs), batch_size=SAMPLES, verbose=0)

    def _mse(self, outputs) -> float:
        # Codes have no error of their own: they are decoded by the model.
        decoded = self._predict(self.model.decoder, outputs) if self.part == "encoder" else outputs
        return float(np.square(decoded - self.clean).mean())


def _one_or_all(inputs):
    return inputs[0] if len(inputs) == 1 else list(inputs)


def _samples(data, shape):
    """Up to `SAMPLES` samples, and their labels or None."""
    if data is None:
        return np.random.default_rng(0).random((SAMPLES, *shape), "float32"), None
    found, labels = [], []
    data = check_batches(as_array(data), "`data`")
    for batch in batches(data, SAMPLES):
        found.append(to_numpy(samples_of(batch)))
        if isinstance(batch, tuple) and len(batch) > 1:
            labels.append(to_numpy(batch[1]))
        if sum(map(len, found)) >= SAMPLES:
            break
    if not found:
        raise ValueError("`data` must hold at least one batch. Received: an empty dataset")
    x = np.concatenate(found)[:SAMPLES]
    check_inputs(x, shape)
    return x, np.concatenate(labels)[:SAMPLES] if labels else None


def _size(path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
