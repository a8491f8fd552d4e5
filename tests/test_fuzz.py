"""Damaged files and wrong values: a right result, or one sentence that ends `Received: ...`."""

import contextlib
import inspect
import re
import shutil
import signal
import warnings

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from PIL import Image

import aezoo
from aezoo.models._registry import get_factory
from aezoo.training.run_folder import RunFolder
from tests.conftest import SMALL, has_latent_dim, small

SENTENCE = re.compile(r"[^\n]*Received: .*\Z", re.DOTALL)
SECONDS = 60  # a call that takes longer hangs
QUICK = settings(
    max_examples=30, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def many(examples):
    return settings(QUICK, max_examples=examples, derandomize=False)


@contextlib.contextmanager
def house_errors():
    """Lets an error pass that is of the house's form, and nothing that takes forever."""

    def stop(*_):
        raise TimeoutError(f"more than {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ValueError, TypeError, FileNotFoundError) as error:
        assert SENTENCE.fullmatch(str(error)), repr(error)  # noqa: PT017
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# Damaged files


class Files:
    """Files of every kind, and what reads each: a function of the folder that holds it."""

    def __repr__(self):
        return "files"

    def __init__(self, folder):
        self.folder = folder
        self.x = aezoo.data.arrays("digits")[:40]
        model = small("dense_ae", hidden_units=(8,))
        model.run_eagerly = True
        model.fit(self.x, verbose=0)
        model.run_eagerly = False
        self.weights, self.expected = model.get_weights(), model.reconstruct(self.x[:4])
        model.run_eagerly = True
        model.save(folder / "model.keras")
        model.save_weights(folder / "model.weights.h5")
        aezoo.save_pretrained(model, folder / "weights", precision="float32")
        aezoo.anomaly.Detector(model, "nearest").fit(self.x, 0.1).save(folder / "detector")
        np.save(folder / "x.npy", self.x)
        np.savez_compressed(folder / "x.npz", x_train=self.x, y_train=np.arange(40))
        np.savetxt(folder / "x.csv", self.x.reshape(40, -1)[:, :5], delimiter=",", header="a,b")
        (folder / "images").mkdir()
        for number in range(2):
            Image.fromarray(self.x[number, ..., 0]).save(folder / "images" / f"{number}.png")
        self._run(model, folder / "run")
        shutil.copytree(folder / "run", folder / "whole")
        (folder / "whole" / "metrics.json").write_text('{"mse": 0.1, "psnr": 10.0}')
        self.kinds = {
            "model.keras": self.read_model,
            "model.weights.h5": self.read_weights,
            "weights/card.json": self.read_pretrained,
            "weights/weights.npz": self.read_pretrained,
            "detector/model.keras": self.read_detector,
            "detector/detector.npz": self.read_detector,
            "detector/detector.json": self.read_detector,
            "x.npy": lambda folder: aezoo.data.arrays(folder / "x.npy"),
            "x.npz": lambda folder: aezoo.data.arrays(folder / "x.npz"),
            "x.csv": lambda folder: aezoo.data.arrays(folder / "x.csv"),
            "images/0.png": lambda folder: aezoo.data.arrays(folder / "images"),
            "run/config.json": self.read_run,
            "run/history.csv": self.read_run,
            "run/checkpoint-0001.keras": self.read_run,
            "whole/metrics.json": self.read_whole,
        }
        self.wholes = {name: (folder / name).read_bytes() for name in self.kinds}

    def _run(self, model, folder):
        class Kill(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 1:
                    raise RuntimeError("killed")

        with pytest.raises(RuntimeError):
            aezoo.train(model, str(self.folder / "x.npy"), 2, folder, batch_size=20, seed=0,
                        verbose=False, callbacks=(Kill(),))  # fmt: skip

    def read_model(self, folder):
        loaded = aezoo.load_model(folder / "model.keras")
        if (folder / "model.keras").read_bytes() == self.wholes["run/checkpoint-0001.keras"]:
            return  # another whole model
        np.testing.assert_array_equal(loaded.reconstruct(self.x[:4]), self.expected)

    def read_weights(self, folder):
        small("dense_ae", hidden_units=(8,), weights=folder / "model.weights.h5")

    def read_pretrained(self, folder):
        loaded = aezoo.dense_ae(weights=folder / "weights").get_weights()
        assert all((a == b).all() for a, b in zip(loaded, self.weights, strict=True))

    def read_detector(self, folder):
        detector = aezoo.anomaly.load_detector(folder / "detector")
        before = (detector.anomaly_scores(self.x[:4]) > detector.threshold).tolist()
        assert before == [False] * 4

    def read_run(self, folder):
        run = RunFolder(folder / "run")
        config = run.read_config()
        checkpoint, epochs = run.checkpoint
        aezoo.load_model(checkpoint)
        assert isinstance(config["data"], str)
        assert [row["epoch"] for row in run.keep_history(epochs)] == [1]

    def read_whole(self, folder):
        RunFolder(folder / "whole").read_json("metrics.json")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp("fuzz"))


@st.composite
def damages(draw, kinds):
    """(which file, what is done to its bytes)."""
    name = draw(st.sampled_from(kinds))
    place = draw(st.floats(0, 1, exclude_max=True))
    how = draw(st.sampled_from(("cut", "flip", "flip", "swap", "fill", "empty", "double")))

    def damage(wholes):
        whole = wholes[name]
        at = int(place * len(whole))
        if how == "cut":
            return whole[:at]
        if how == "flip":
            bit = 1 << int(place * 8e6) % 8
            return whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :]
        if how == "swap":
            return wholes[kinds[int(place * len(kinds))]]
        if how == "fill":
            return whole[:at] + bytes(min(16, len(whole) - at)) + whole[at + 16 :]
        return b"" if how == "empty" else whole + whole

    return name, how, place, damage


def read_damaged(files, damaged):
    name, _, _, damage = damaged
    path = files.folder / name
    others = {other: other.read_bytes() for other in path.parent.iterdir() if other.is_file()}
    path.write_bytes(damage(files.wholes))
    try:
        with house_errors():
            files.kinds[name](files.folder)
    finally:
        for other, whole in others.items():
            other.write_bytes(whole)
        path.write_bytes(files.wholes[name])


KINDS = (
    "model.keras", "model.weights.h5", "weights/card.json", "weights/weights.npz",
    "detector/model.keras", "detector/detector.npz", "detector/detector.json", "x.npy", "x.npz",
    "x.csv", "images/0.png", "run/config.json", "run/history.csv", "run/checkpoint-0001.keras",
    "whole/metrics.json",
)  # fmt: skip


@settings(QUICK, max_examples=25)
@given(damaged=damages(KINDS))
def test_damaged_files_are_named_or_give_what_whole_ones_do(files, damaged):
    read_damaged(files, damaged)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damages_of_every_kind(kind, files):
    @many(150)
    @given(damaged=damages((kind,)))
    def check(damaged):
        read_damaged(files, damaged)

    check()


# Wrong values

NUMBERS = st.one_of(
    st.integers(-3, 5), st.just(2**70), st.floats(-2, 5), st.sampled_from((np.nan, np.inf, -np.inf))
)
SIMPLE = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.text(max_size=5), st.binary(max_size=5),
    st.sampled_from(("junk", "a\0b", "x" * 300, len, object(), 1j)),
)  # fmt: skip
DTYPES = st.sampled_from(
    ("float32", "float64", "float16", "uint8", "uint16", "bool", "int8", "int32", "int64",
     "uint32", "complex64", "<U3", "datetime64[s]")
)  # fmt: skip
SHAPES = st.one_of(
    arrays_of.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=9),
    st.integers(0, 5).map(lambda samples: (samples, 8, 8, 1)),
)
ARRAYS = st.builds(lambda shape, dtype: np.zeros(shape, dtype), SHAPES, DTYPES)
WRONG = st.one_of(
    SIMPLE, ARRAYS, st.lists(SIMPLE, max_size=3), st.lists(SIMPLE, max_size=3).map(tuple),
    st.dictionaries(st.text(max_size=3), SIMPLE, max_size=2), st.just([[1], [2, 3]]),
)  # fmt: skip


def public_calls(folder):
    """From name to (function, right arguments, arguments that stay as they are)."""
    x, y = (part[:60] for part in aezoo.data.arrays("digits", labels=True))
    dense, pca, variational = (small(name) for name in ("dense_ae", "pca_ae", "vae"))
    quantized, conditional = small("vq_vae"), small("vae", num_classes=10)
    denoising = small("denoising_ae", corruption="masking")
    for model in (dense, pca, variational, quantized, conditional, denoising):
        model.run_eagerly = True
    pca.fit(x, verbose=0)
    detector = aezoo.anomaly.Detector(pca, "nearest").fit(x, 0.1)
    detector.save(folder / "detector")
    classifier = aezoo.transfer.classifier(dense, 10)
    probe = {"model": pca, "train": (x, y), "test": (x, y)}
    codes = quantized.tokens(x[:3])
    few = {"x": x[:4]}
    labelled = {**few, "labels": y[:4]}
    plots, transfer, data = aezoo.plots, aezoo.transfer, aezoo.data
    calls = {
        "load": (data.load, {"source": x}),
        "arrays": (data.arrays, {"source": x}),
        "splits": (data.splits, {"source": x}),
        "create": (aezoo.create, {"name": "pca_ae"}),
        "list_models": (aezoo.list_models, {}),
        "list_weights": (aezoo.list_weights, {}),
        "load_model": (aezoo.load_model, {"path": folder}),
        "save_pretrained": (
            aezoo.save_pretrained,
            {"model": dense, "folder": folder / "pre", "overwrite": True},
        ),
        "autoencoder": (
            aezoo.autoencoder,
            {
                "encoder": keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]),
                "decoder": keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)]),
            },
        ),
        "export": (
            aezoo.export,
            {"model": pca, "path": folder / "export", "data": few["x"], "overwrite": True},
        ),
        "impute": (aezoo.impute, {"model": pca, **few, "mask": np.zeros((8, 8, 1), bool)}),
        "psnr": (aezoo.metrics.psnr, {"x": x, "y": x}),
        "ssim": (aezoo.metrics.ssim, {"x": x, "y": x}),
        "ActiveUnits": (aezoo.metrics.ActiveUnits, {"units": 2}),
        "TimeBudget": (aezoo.callbacks.TimeBudget, {"seconds": 1}),
        "Progress": (aezoo.callbacks.Progress, {"epochs": 1}),
        "fit": (dense.fit, {**few, "verbose": 0}),
        "fit of a closed form": (pca.fit, {"x": x, "verbose": 0}),
        "fit with labels": (conditional.fit, {**few, "y": y[:4], "verbose": 0}),
        "evaluate": (dense.evaluate, few),
        "partial_fit": (pca.partial_fit, few),
        "merge": (pca.merge, {"other": pca}),
        "encode": (dense.encode, few),
        "decode": (dense.decode, {"z": dense.encode(x[:4])}),
        "reconstruct": (dense.reconstruct, few),
        "reconstruction_error": (dense.reconstruction_error, few),
        "corrupt": (denoising.corrupt, few),
        "encode with labels": (conditional.encode, labelled),
        "decode with labels": (conditional.decode, {"z": np.zeros((4, 4), "f"), "labels": 3}),
        "log_likelihood": (variational.log_likelihood, {**few, "samples": 2}),
        "log_likelihood with labels": (conditional.log_likelihood, {**labelled, "samples": 2}),
        "generate": (variational.generate, {"n": 3}),
        "generate with labels": (conditional.generate, {"n": 3, "labels": 1}),
        "interpolate": (variational.interpolate, {"a": x[:2], "b": x[2:4]}),
        "tokens": (quantized.tokens, few),
        "decode_tokens": (quantized.decode_tokens, {"tokens": codes}),
        "compress": (quantized.compress, few),
        "decompress": (quantized.decompress, {"stored": quantized.compress(x[:3])}),
        "features": (transfer.features, {"model": dense, "data": x[:4]}),
        "layer_features": (transfer.layer_features, {"model": dense, "name": "code"}),
        "classifier": (transfer.classifier, {"model": dense, "num_classes": 10}),
        "regressor": (transfer.regressor, {"model": dense}),
        "unfreeze": (transfer.unfreeze, {"model": classifier}),
        "linear_probe": (transfer.linear_probe, {**probe, "max_iterations": 5}),
        "knn": (transfer.knn, probe),
        "conformal_threshold": (
            aezoo.anomaly.conformal_threshold,
            {"scores": np.arange(99.0), "false_positive_rate": 0.1},
        ),
        "Detector": (aezoo.anomaly.Detector, {"model": pca, "score": "nearest"}),
        "Detector.fit": (detector.fit, {"normal": x, "false_positive_rate": 0.1}),
        "Detector.score": (detector.score, few),
        "Detector.predict": (detector.predict, few),
        "Detector.heat_map": (detector.heat_map, few),
        "Detector.save": (detector.save, {"folder": folder / "detector", "overwrite": True}),
        "load_detector": (aezoo.anomaly.load_detector, {"folder": folder / "detector"}),
        "code_map": (plots.code_map, {"codes": pca.encode(x), "labels": y, "method": "pca"}),
        "traversals": (plots.traversals, {"model": pca, "x": x, "directions": 1, "steps": 2}),
        "class_scores": (plots.class_scores, {"scores": {"a": {"0": 0.9}}}),
        "error_histogram": (plots.error_histogram, {"errors": {"a": np.ones(3)}}),
        "history": (plots.history, {"columns": {"loss": [0.2, 0.1]}}),
        "learning_curves": (plots.learning_curves, {"histories": {"a": {"mse": [0.2, 0.1]}}}),
        "noise_curve": (plots.noise_curve, {"errors": {"a": {0: 0.1}}}),
        "label_curve of plots": (
            plots.label_curve,
            {"rows": [{"method": "a", "labels_per_class": 1, "accuracy": 0.5, "spread": 0.1}]},
        ),
        "heat_maps": (plots.heat_maps, {"x": x[:2], "maps": np.zeros((2, 8, 8))}),
        "image_rows": (plots.image_rows, {"rows": {"a": x[:2]}}),
        "reconstructions": (plots.reconstructions, {"models": {"a": pca}, "x": x[:2]}),
        "worst_and_best": (plots.worst_and_best, {"models": {"a": pca}, "x": x, "columns": 1}),
        "train": (aezoo.train, {"model": pca, "data": x, "epochs": 1, "verbose": False}),
        "evaluate of aezoo": (
            aezoo.evaluate,
            {"model": pca, "data": x, "noise_levels": (), "verbose": False},
        ),
        "compare": (
            aezoo.compare,
            {"models": ["pca_ae"], "data": x, "minutes": 0, "seeds": 1, "verbose": False},
        ),
        "label_curve": (
            transfer.label_curve, {**probe, "labels_per_class": (2,), "seeds": 1, "steps": 1}
        ),
    }  # fmt: skip
    for name in dir(aezoo.layers):
        layer = getattr(aezoo.layers, name)
        if inspect.isclass(layer):
            parameters = inspect.signature(layer).parameters.values()
            needed = [one.name for one in parameters if one.default is one.empty]
            needed = [name for name in needed if name not in ("args", "kwargs")]
            calls[name] = (layer, dict.fromkeys(needed, 1))
    for name in aezoo.list_models():
        arguments = {"input_shape": (8, 8, 1), **SMALL.get(name, {})}
        arguments |= {"latent_dim": 4} if has_latent_dim(name) else {}
        calls[name] = (get_factory(name), arguments)
    return calls


SLOW_CALLS = ("label_curve", "compare", "evaluate of aezoo", "train", "masked_ae")


class Calls(dict):
    """Hypothesis shows it in a word."""

    def __repr__(self):
        return "calls"


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    return Calls(public_calls(tmp_path_factory.mktemp("calls")))


def call_wrongly(calls, name, key, value, folder):
    function, arguments = calls[name]
    with contextlib.chdir(folder), house_errors():
        function(**{**arguments, key: value})


def keys_of(function):
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.kind.name in ("POSITIONAL_OR_KEYWORD",
                                                                "KEYWORD_ONLY")]  # fmt: skip


def test_every_public_function_is_called(calls):
    functions = [function for function, _ in calls.values()]
    rooms = (aezoo, aezoo.data, aezoo.transfer, aezoo.anomaly, aezoo.plots)
    public = {
        value
        for room in rooms
        for name, value in vars(room).items()
        if inspect.isfunction(value) and not name.startswith("_") and name != "register"
    }
    assert public - set(functions) == set()


@settings(QUICK, max_examples=60)
@given(data=st.data())
def test_wrong_values_are_refused_in_one_sentence(calls, tmp_path_factory, data):
    quick = sorted(set(calls) - set(SLOW_CALLS))
    name = data.draw(st.sampled_from(quick))
    key = data.draw(st.sampled_from(keys_of(calls[name][0]) or [None]))
    call_wrongly(calls, name, key, data.draw(WRONG), tmp_path_factory.getbasetemp())


@pytest.mark.slow
def test_many_wrong_values_of_every_argument(calls, tmp_path_factory):
    folder, failures = tmp_path_factory.mktemp("here"), {}
    for name, (function, _) in calls.items():
        for key in keys_of(function):
            try:
                try_wrong_values(calls, name, key, folder)
            except Exception as error:  # the next argument is looked at all the same
                failures[name, key] = repr(error)[:300]
        keras.utils.clear_session()
    assert not failures


def try_wrong_values(calls, name, key, folder):
    @many(5 if name in SLOW_CALLS else 25)
    @given(value=WRONG)
    def check(value):
        call_wrongly(calls, name, key, value, folder)

    check()


def takes(array):
    """Whether a model of (8, 8, 1) takes an array."""
    pixels = array.dtype.name in ("uint8", "uint16", "bool", "float16", "float32", "float64")
    return pixels and array.shape[1:] == (8, 8, 1) and len(array) > 0


@settings(QUICK, max_examples=25)
@given(array=ARRAYS)
def test_arrays_of_any_shape_and_dtype(calls, array):
    model = calls["encode"][0].__self__
    if takes(array):
        assert model.encode(array).shape == (len(array), 4)
        assert model.reconstruction_error(array).shape == (len(array),)
        return
    for method in (model.encode, model.reconstruct, model.reconstruction_error, model.fit):
        with pytest.raises(ValueError, match=SENTENCE):
            method(array)
