"""Hostile files: none runs code, reads another file, takes memory, or ends in a traceback.

One fresh process tries them all, with little memory to take and an ear on what it opens; a
trial is a function that writes a file into a folder and returns what would load it.
"""

import contextlib
import hashlib
import io
import json
import os
import pathlib
import re
import resource
import shutil
import struct
import sys
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest

import aezoo
from aezoo.anomaly import Detector, load_detector
from tests.conftest import ROOT, quick_for, run_python, small

MEBIBYTE = 2**20
HOUSE = re.compile(r"[^\n]*Received: [^\n]+")
TRIALS, LARGE = {}, []


def trial(name, large=False):
    """Adds a trial; one that takes seconds to write or to refuse is tried in the slow tests."""

    def keep(function):
        assert name not in TRIALS
        TRIALS[name] = function
        LARGE.extend([name] if large else [])
        return function

    return keep


def make_good(folder):
    """What honest users save, of which the trials are made."""
    model = small("dense_ae", hidden_units=(8,))
    model.save(folder / "good.keras")
    model.save_weights(folder / "good.weights.h5")
    aezoo.save_pretrained(model, folder / "weights")
    x = aezoo.data.arrays("digits")[:40]
    Detector(model, "mahalanobis").fit(x, 0.1).save(folder / "detector")


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_zip(path, members, method=zipfile.ZIP_STORED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # of two members of one name
        for name, content in members.items() if isinstance(members, dict) else members:
            if isinstance(content, int):  # so many MB of zeros, which are never held
                with archive.open(name, "w") as member:
                    for _ in range(content):
                        member.write(bytes(10**6))
            else:
                archive.writestr(name, content)
    return path


def config_trial(name, change, large=False):
    """A `.keras` file whose configuration was changed; `change` may return text."""

    def write(folder):
        members = members_of(folder.parent / "good.keras")
        config = json.loads(members["config.json"])
        changed = change(config)
        config = config if changed is None else changed
        members["config.json"] = config if isinstance(config, str) else json.dumps(config)
        path = write_zip(folder / "a.keras", members)
        return lambda: aezoo.load_model(path)

    trial(name, large)(write)


def weights_trial(name, change):
    """A `.keras` and a `.weights.h5` file whose HDF5 part was changed in place."""

    def inside(folder):
        members = members_of(folder.parent / "good.keras")
        inner = folder / "inner.h5"
        inner.write_bytes(members["model.weights.h5"])
        with h5py.File(inner, "r+") as file:
            change(file)
        members["model.weights.h5"] = inner.read_bytes()
        path = write_zip(folder / "a.keras", members)
        return lambda: aezoo.load_model(path)

    def alone(folder):
        path = folder / "a.weights.h5"
        shutil.copy(folder.parent / "good.weights.h5", path)
        with h5py.File(path, "r+") as file:
            change(file)
        return lambda: small("dense_ae", hidden_units=(8,), weights=path)

    trial(f"{name}, in an archive")(inside)
    trial(f"{name}, alone")(alone)


def members_trial(name, change, method=zipfile.ZIP_STORED, large=False):
    """A `.keras` file of other members."""

    def write(folder):
        members = members_of(folder.parent / "good.keras")
        changed = change(members)
        path = write_zip(folder / "a.keras", members if changed is None else changed, method)
        return lambda: aezoo.load_model(path)

    trial(name, large)(write)


def bytes_trial(name, change, suffix=".keras", source="good.keras"):
    """A file whose bytes were changed."""

    def write(folder):
        path = folder / f"a{suffix}"
        path.write_bytes(change((folder.parent / source).read_bytes()))
        if suffix == ".weights.h5":
            return lambda: small("dense_ae", hidden_units=(8,), weights=path)
        return lambda: aezoo.load_model(path)

    trial(name)(write)


def dense_of(config):
    """The configuration of the first dense layer, with its place in the model."""
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "Dense":
            return layer
        if "layers" in layer.get("config", {}):
            return dense_of(layer)
    raise AssertionError("no dense layer")


def function(module, name, **parts):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name,
            **parts}  # fmt: skip


def made(module, name, /, **config):
    return {"module": module, "class_name": name, "config": config, "registered_name": None}


# ------------------------------------------------------------------------------------------------
# Names in a configuration
# ------------------------------------------------------------------------------------------------


def as_activation(value):
    return lambda config: dense_of(config)["config"].update(activation=value)


def as_loss(value):
    return lambda config: config["compile_config"].update(loss=value)


def as_layer(**parts):
    return lambda config: dense_of(config).update(parts)


for _name, _value in {
    "os.system": function("os", "system"),
    "eval": function("builtins", "eval"),
    "plot_model": function("keras.utils", "plot_model"),
    "get_file": function("keras.utils", "get_file"),
    "load_data": function("keras.datasets.imdb", "load_data"),
    "enable_unsafe_deserialization": function("keras.config", "enable_unsafe_deserialization"),
    "load_model": function("keras.saving", "load_model"),
    "deserialize": function("keras.losses", "deserialize"),
    "a function of an inner module": function("keras.src.utils.file_utils", "get_file"),
    "get_file as a class": made("keras.utils", "get_file", fname="a", origin="http://a"),
    "get_file under the name of relu": function("keras.utils", "get_file", registered_name="relu"),
    "relu under the name of get_file": function("keras.activations", "relu",
                                                registered_name="get_file"),
    "a lambda": {"class_name": "__lambda__", "config": {"value": "4w=="}},
    "a type of TensorFlow": {"class_name": "__typespec__", "spec_name": "TensorSpec",
                             "module": "tensorflow", "config": [[1], "float32"],
                             "registered_name": None},
    "letters that look like Keras's": function("ker\u0430s.activations", "relu"),
    "a module with a space": function("keras .activations", "relu"),
    "a relative module": function(".keras.activations", "relu"),
    "a path in the module": function("keras.activations/../utils", "get_file"),
    "a class name that is a list": {"module": "keras", "class_name": ["x"], "config": {}},
    "a class name that is none": {"module": "keras", "class_name": None, "config": {}},
    "an attribute of a module": function("keras.activations", "__class__"),
    "a module of a module": made("keras", "utils"),
    "a callback": made("keras.callbacks", "BackupAndRestore", backup_dir="/tmp/a"),
    "a feature space of functions": made("keras.utils", "FeatureSpace", features={}),
    "a tokenizer of a file": made("keras.layers", "TextVectorization", vocabulary="/etc/passwd"),
}.items():  # fmt: skip
    config_trial(f"{_name} as activation", as_activation(_value))
    if _value.get("class_name") == "function":
        config_trial(f"{_name} as loss", as_loss(_value))

for _name, _parts in {
    "Lambda": made("keras.layers", "Lambda", function="eval"),
    "Lambda of the inner module": made("keras.src.layers.core.lambda_layer", "Lambda"),
    "Lambda of keras": made("keras", "Lambda"),
    "Lambda registered as Dense": {**made("keras.layers", "Lambda"), "registered_name": "Dense"},
    "Lambda without a module": {"module": None, "class_name": "Lambda"},
    "TFSMLayer": made("keras.layers", "TFSMLayer", filepath="/tmp"),
    "TFSMLayer of the inner module": made("keras.src.export.tfsm_layer", "TFSMLayer"),
    "TorchModuleWrapper": made("keras.layers", "TorchModuleWrapper", module="4w=="),
    "JaxLayer": made("keras.layers", "JaxLayer"),
    "FlaxLayer": made("keras.layers", "FlaxLayer"),
    "words of a file": made("keras.layers", "StringLookup", vocabulary="/etc/passwd"),
    "numbers of a file": made("keras.layers", "IntegerLookup", vocabulary="/etc/passwd"),
    "a class of subprocess": made("subprocess", "Popen", args=["touch", "a"]),
    "a module that would be imported": made("a_strangers_module", "Layer"),
    "a module below keras": made("keras.a_strangers_module", "Layer"),
    "a module of keras_hub": made("keras_hub.a_strangers_module", "Layer"),
    "a name that nobody registered": {**made("a", "Layer"), "registered_name": "a>Layer"},
}.items():
    config_trial(f"{_name} as layer", as_layer(**_parts))

config_trial("a function as the model", lambda config: {**config, **function("os", "system")})
config_trial(
    "another class as the model",
    lambda config: {**config, "class_name": "Popen", "registered_name": "Popen"},
)
config_trial(
    "a layer that is called with numbers",
    as_layer(inbound_nodes=[{"args": [{"class_name": "__numpy__", "config": {
        "value": [1.0], "dtype": "float32"}}], "kwargs": {}}]),
)  # fmt: skip
config_trial(
    "an initializer that is a class of os",
    lambda config: dense_of(config)["config"].update(kernel_initializer=made("os", "_Environ")),
)
config_trial(
    "code where the optimizer is",
    lambda config: config["compile_config"].update(optimizer=function("os", "system")),
)
config_trial(
    "code among the metrics",
    lambda config: config["compile_config"].update(metrics=[[function("os", "system")]]),
)
config_trial(
    "code in the build configuration",
    as_layer(build_config={"input_shape": function("os", "system")}),
)

# ------------------------------------------------------------------------------------------------
# Sizes and texts in a configuration
# ------------------------------------------------------------------------------------------------


def unbuilt(part):
    """Without the shapes that layers were built for, which would tell at once."""
    if isinstance(part, dict):
        part.pop("build_config", None)
    for child in part.values() if isinstance(part, dict) else part:
        if isinstance(child, (dict, list)):
            unbuilt(child)


def with_units(units, **more):
    def change(config):
        unbuilt(config)
        dense_of(config)["config"].update(units=units, **more)

    return change


config_trial("4,000,000 units", with_units(4_000_000))
config_trial("10^12 units", with_units(10**12))
config_trial("10^400 units", with_units(10**400))
config_trial("-1 units", with_units(-1))
config_trial("units that are NaN", with_units(float("nan")))
config_trial("units that are true infinity", with_units(float("inf")))
config_trial("units that are a text", with_units("8"))
config_trial("units that are a list", with_units([8]))
config_trial("a built shape of 10^12", as_layer(build_config={"input_shape": [None, 10**12]}))
config_trial(
    "an array of long texts",
    as_activation(
        {"class_name": "__numpy__", "config": {"value": ["a"] * 1000, "dtype": "U9999999"}}
    ),
)
config_trial(
    "a table of 10^12 classes",
    lambda config: config["compile_config"].update(
        metrics=[made("keras.metrics", "MeanIoU", num_classes=10**6)]
    ),
)
config_trial(
    "10^10 thresholds",
    lambda config: config["compile_config"].update(
        metrics=[made("keras.metrics", "AUC", num_thresholds=10**10)]
    ),
)
config_trial(
    "a table of 90,000 squared",
    lambda config: config["compile_config"].update(
        metrics=[made("keras.metrics", "MeanIoU", num_classes=90_000)]
    ),
)


def normalised(config):
    """A layer that computes an array of the size of its input, and has no weights."""
    encoder = config["config"]["layers"][1]["config"]
    unbuilt(config)
    encoder["layers"][0]["config"]["batch_shape"] = [None, 10**9]
    layer = made("keras.layers", "Normalization", axis=None, mean=0.0, variance=1.0)
    dense_of(config).update({**layer, "config": {**layer["config"], "axis": -1}})


config_trial("a normalisation of 10^9 numbers", normalised)
config_trial(
    "an identity of 10^6 units",
    with_units(10**6, kernel_initializer=made("keras.initializers", "Identity")),
)
config_trial("deep lists", lambda config: "[" * 100_000)
config_trial("deep objects", lambda config: '{"a":' * 100_000)
config_trial("an integer of 10,000 digits", lambda config: '{"a": ' + "9" * 10_000 + "}")
config_trial("a list for the model", lambda config: "[]")
config_trial("null for the model", lambda config: "null")
config_trial("no text", lambda config: "")
config_trial("bytes that are no text", lambda config: "\udcff".encode("utf-8", "replace").decode())
config_trial("layers that are a number", lambda config: config["config"].update(layers=3))
config_trial("2 MB of empty lists", lambda _: '{"a": [' + "[]," * 650_000 + "[]]}", large=True)
config_trial("2 MB of objects", lambda _: '{"a": [' + '{"a":1},' * 240_000 + "1]}", large=True)
config_trial("5 MB of spaces", lambda config: json.dumps(config) + " " * 5_000_000)
config_trial("an unknown argument", lambda config: dense_of(config)["config"].update(mystery=1))


# ------------------------------------------------------------------------------------------------
# Members of the archive, and bytes
# ------------------------------------------------------------------------------------------------


def with_member(name, content=b"x"):
    return lambda members: members.update({name: content})


for _member in ("/tmp/absolute", "../above", "assets/../../above", "..\\above", "C:/windows",
                "model.weights.npz", "extra.py"):  # fmt: skip
    members_trial(f"a member {_member}", with_member(_member))
members_trial("two configurations", lambda members: [*members.items(), ("config.json", "{}")])
members_trial("no configuration", lambda members: members.pop("config.json") and None)
members_trial("no weights", lambda members: members.pop("model.weights.h5") and None)
for _size in (2, 600):  # MB, of which the large one is seen in memory
    members_trial(
        f"a configuration of {_size} MB of zeros",
        lambda members, size=_size: members.update({"config.json": size}),
        zipfile.ZIP_DEFLATED,
        large=_size > 2,
    )
    members_trial(
        f"weights of {_size} MB of zeros",
        lambda members, size=_size: members.update({"model.weights.h5": size}),
        zipfile.ZIP_DEFLATED,
        large=_size > 2,
    )
members_trial("a bomb beside it", with_member("assets/x", bytes(2 * 10**6)), zipfile.ZIP_DEFLATED)
members_trial("weights that are a zip", lambda members: members.update(
    {"model.weights.h5": write_zip(io.BytesIO(), {"a": b"b"}).getvalue()}
))  # fmt: skip
members_trial("lzma", lambda members: None, zipfile.ZIP_LZMA)
members_trial("bzip2", lambda members: None, zipfile.ZIP_BZIP2)


@trial("a symbolic link")
def _(folder):
    members = members_of(folder.parent / "good.keras")
    link = zipfile.ZipInfo("assets/passwd")
    link.external_attr = 0o120777 << 16
    path = write_zip(folder / "a.keras", [*members.items(), (link, "/etc/passwd")])
    return lambda: aezoo.load_model(path)


def flagged(content):
    """Every member is said to be encrypted."""
    content = bytearray(content)
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + place] |= 1
            at = content.find(signature, at + 4)
    return bytes(content)


def lying(size):
    """The central directory says another size of the weights."""

    def change(content):
        content = bytearray(content)
        at = content.rfind(b"PK\x01\x02")
        struct.pack_into("<I", content, at + 24, size)
        return bytes(content)

    return change


def damaged(content):
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


bytes_trial("encrypted members", flagged)
bytes_trial("weights that are said to be 4 GB", lying(2**32 - 2))
bytes_trial("weights that are said to be longer", lying(60_000_000))
bytes_trial("weights that are said to be shorter", lying(1000))
bytes_trial("a damaged byte", damaged)
bytes_trial(
    "an HDF5 file with an archive behind it", lambda content: b"\x89HDF\r\n\x1a\n" + content
)
bytes_trial("an HDF5 file named .keras", lambda content: content, source="good.weights.h5")
bytes_trial("an archive named .h5", lambda content: content, suffix=".h5")
bytes_trial("an archive named .zip", lambda content: content, suffix=".zip")
bytes_trial("an archive named .keras.h5", lambda content: content, suffix=".keras.h5")
bytes_trial("an archive named .weights.h5", lambda content: content, suffix=".weights.h5")
bytes_trial("nothing", lambda content: b"")
bytes_trial("a pickle", lambda content: b"cos\nsystem\n(S'touch a'\ntR.")
for _share in (0.01, 0.3, 0.6, 0.99):
    bytes_trial(
        f"{_share:.0%} of an archive",
        lambda content, share=_share: content[: int(len(content) * share)],
    )
    bytes_trial(
        f"{_share:.0%} of weights",
        lambda content, share=_share: content[: int(len(content) * share)],
        ".weights.h5",
        "good.weights.h5",
    )


@trial("an HDF5 model with an archive behind it, named .h5")
def _(folder):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x)])
    model.save(folder / "a.h5")
    path = folder / "p.h5"
    path.write_bytes((folder / "a.h5").read_bytes() + (folder.parent / "good.keras").read_bytes())
    return lambda: aezoo.load_model(path)


# ------------------------------------------------------------------------------------------------
# Arrays
# ------------------------------------------------------------------------------------------------


def kernel_of(file):
    """The first kernel's group, and its name in it."""
    found = []
    file.visititems(
        lambda name, part: found.append(part) if isinstance(part, h5py.Dataset) else None
    )
    dataset = next(part for part in found if part.ndim == 2 and "optimizer" not in part.name)
    return dataset.parent, dataset.name.rsplit("/", 1)[1]


def replaced(**options):
    def change(file):
        group, name = kernel_of(file)
        shape = group[name].shape
        del group[name]
        default = {} if "data" in options else {"shape": shape, "dtype": "float32"}
        group.create_dataset(name, **{**default, **options})

    return change


def retyped(dtype):
    def change(file):
        group, name = kernel_of(file)
        values = group[name][()].astype(dtype)
        del group[name]
        group[name] = values

    return change


def link_to(link):
    def change(file):
        group, name = kernel_of(file)
        del group[name]
        group[name] = link

    return change


def stored_outside(file):
    group, name = kernel_of(file)
    shape = group[name].shape
    del group[name]
    size = 4 * int(np.prod(shape))
    group.create_dataset(name, shape, "float32", external=[("/etc/passwd", 0, size)])


def virtual(file):
    group, name = kernel_of(file)
    layout = h5py.VirtualLayout(group[name].shape, "float32")
    layout[:] = h5py.VirtualSource("/etc/passwd", "a", group[name].shape)
    del group[name]
    group.create_virtual_dataset(name, layout)


def cycle(file):
    group, _ = kernel_of(file)
    group["round"] = file["/"]


def soft_cycle(file):
    group, _ = kernel_of(file)
    group["a"], group["b"] = h5py.SoftLink("b"), h5py.SoftLink("a")


def deep(file):
    group = file
    for _ in range(3000):
        group = group.create_group("a")
    group["x"] = h5py.SoftLink("/")


def shared(file):
    group, name = kernel_of(file)
    group["9"] = group[name]


weights_trial(
    "20,000 squared of nothing",
    replaced(shape=(20_000, 20_000), chunks=(1000, 1000), compression="gzip"),
)
weights_trial("20,000 squared that were never written", replaced(shape=(20_000, 20_000)))
weights_trial("2^40 squared", replaced(shape=(2**20, 2**40), chunks=(1, 1024)))
weights_trial("chunks", replaced(chunks=(2, 2), fillvalue=1.0))
weights_trial("complex numbers", retyped("complex128"))
weights_trial("texts", replaced(data=np.full((64, 8), b"a")))
weights_trial("texts of any length", replaced(data="a"))
weights_trial("references", replaced(dtype=h5py.ref_dtype))
weights_trial("records", replaced(data=np.zeros((64, 8), [("a", "f4")])))
weights_trial("another shape", replaced(data=np.ones((9, 7), "float32")))
weights_trial("no shape", lambda file: replaced_by_null(file))
weights_trial("a group for an array", lambda file: group_for(file))
weights_trial("a link to another file", link_to(h5py.ExternalLink("/etc/passwd", "/")))
weights_trial("a link to itself", link_to(h5py.SoftLink("0")))
weights_trial("a link to another array", link_to(h5py.SoftLink("1")))
weights_trial("an array stored in another file", stored_outside)
weights_trial("a view of another file", virtual)
weights_trial("a group in itself", cycle)
weights_trial("links in a circle", soft_cycle)
weights_trial("3,000 groups in one another", deep)
weights_trial("an array of two names", shared)
weights_trial("no arrays", lambda file: file.pop("layers", None) or file.clear())


def replaced_by_null(file):
    group, name = kernel_of(file)
    del group[name]
    group[name] = h5py.Empty("float32")


def group_for(file):
    group, name = kernel_of(file)
    del group[name]
    group.create_group(name)


def folder_trial(name, change, kind="weights"):
    """A folder of pretrained weights or of a detector, signed again by a stranger."""

    def write(folder):
        copy = folder / kind
        shutil.copytree(folder.parent / kind, copy)
        describes = copy / ("card.json" if kind == "weights" else "detector.json")
        content = json.loads(describes.read_text())
        arrays = copy / ("weights.npz" if kind == "weights" else "detector.npz")
        changed = change(content, arrays)
        if kind == "weights":
            content["sha256"] = hashlib.sha256(arrays.read_bytes()).hexdigest()
        elif "sha256" in content:
            signatures = content.pop("sha256")
            signatures = {
                file: hashlib.sha256((copy / file).read_bytes()).hexdigest()
                if file != "detector.json"
                else hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
                for file in signatures
            }
            content["sha256"] = signatures
        describes.write_text(changed if isinstance(changed, str) else json.dumps(content))
        if kind == "detector":
            return lambda: load_detector(copy)
        return lambda: aezoo.dense_ae(weights=copy)

    trial(f"{kind}: {name}")(write)


def npy(shape, descr="<f4", body=b""):
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body


def npz(change, method=zipfile.ZIP_STORED):
    """An archive of arrays of which the first one was changed."""

    def write(_, path):
        members = members_of(path)
        first = next(iter(members))
        changed = change(members, first)
        write_zip(path, members if changed is None else changed, method)

    return write


for _kind in ("weights", "detector"):
    for _name, _change in {
        "a shape of 10^10": npz(lambda m, k: m.update({k: npy((10**5, 10**5))})),
        "a shape of 10^40": npz(lambda m, k: m.update({k: npy((10**20, 10**20))})),
        "a negative shape": npz(lambda m, k: m.update({k: npy((-1, 8), body=bytes(32))})),
        "2 MB of zeros": npz(
            lambda m, k: m.update({k: npy((500_000,), body=bytes(2_000_000))}),
            zipfile.ZIP_DEFLATED,
        ),
        "complex numbers": npz(lambda m, k: m.update({k: npy((2,), "<c16", bytes(32))})),
        "texts": npz(lambda m, k: m.update({k: npy((2,), "<U4", bytes(32))})),
        "objects": npz(lambda m, k: m.update({k: npy((1,), "|O", b"cos\nsystem\n(S'a'\ntR.")})),
        "a header that is code": npz(
            lambda m, k: m.update({k: npy((2,), body=bytes(8)).replace(b"False", b"exit()")})
        ),
        "a long header": npz(lambda m, k: m.update({k: npy((2,), " " * 60_000 + "<f4")})),
        "a header of another version": npz(
            lambda m, k: m.update({k: m[k].replace(b"NUMPY\x01", b"NUMPY\x09")})
        ),
        "too few bytes": npz(lambda m, k: m.update({k: m[k][:-1]})),
        "too many bytes": npz(lambda m, k: m.update({k: m[k] + b"x"})),
        "a missing array": npz(lambda m, k: m.pop(k) and None),
        "two arrays of one name": npz(lambda m, k: [*m.items(), (k, m[k])]),
        "a member above": npz(lambda m, k: m.update({"../a.npy": m[k]})),
        "no archive": lambda _, path: path.write_bytes(npy((2,), body=bytes(8))) and None,
        "a description of 5 MB": lambda *_: '{"a": "' + "x" * 5_000_000 + '"}',
        "deep lists": lambda *_: "[" * 100_000,
        "a list": lambda *_: "[]",
    }.items():
        folder_trial(_name, _change, _kind)

folder_trial("a code of 10^9", lambda card, _: card["arguments"].update(latent_dim=10**9))
folder_trial("a code of 4,000,000", lambda card, _: card["arguments"].update(latent_dim=4 * 10**6))
folder_trial("a code of 10^400", lambda card, _: card["arguments"].update(latent_dim=10**400))
folder_trial(
    "a code that is NaN", lambda card, _: card["arguments"].update(latent_dim=float("nan"))
)
folder_trial("many layers", lambda card, _: card["arguments"].update(hidden_units=[5000] * 300))
folder_trial("an input of 10^9", lambda card, _: card["arguments"].update(input_shape=[10**9]))
folder_trial(
    "another kind of shape", lambda card, _: card["arguments"].update(input_shape={"a": 1})
)
folder_trial("no signatures", lambda content, _: content.pop("sha256") and None, "detector")
folder_trial(
    "one signature less", lambda content, _: content["sha256"].pop("detector.json") and None,
    "detector",
)  # fmt: skip
folder_trial("a threshold that is NaN", lambda c, _: c.update(threshold=float("nan")), "detector")
folder_trial("other samples", lambda c, _: c.update(calibration_samples=7), "detector")
folder_trial("10^400 neighbours", lambda c, _: c.update(neighbors=10**400), "detector")


def recipe_trial(name, text):
    def write(folder):
        from aezoo.cli.recipe_files import read_recipe

        path = folder / "a.toml"
        path.write_text(text)

        def attempt():
            content = read_recipe(str(path))
            aezoo.create(content["model"], (8, 8, 1), **content["arguments"])

        return attempt

    trial(f"a recipe with {name}")(write)


RECIPE = 'model = "dense_ae"\ndata = "digits"\n[arguments]\n'
recipe_trial("a code of 10^9", f"{RECIPE}latent_dim = 1000000000")
recipe_trial("a layer of 10^11", f"{RECIPE}hidden_units = [100000000000]")
recipe_trial("a code of nan", f"{RECIPE}latent_dim = nan")
recipe_trial("deep lists", RECIPE + "a = " + "[" * 10_000)
recipe_trial("5 MB of spaces", RECIPE + " " * 5_000_000)
recipe_trial("no text", "\x00")
recipe_trial("an unknown argument", f"{RECIPE}callback = 'os.system'")
recipe_trial("a code that is a table", f"{RECIPE}latent_dim = {{a = 1}}")


# ------------------------------------------------------------------------------------------------
# The process that tries them
# ------------------------------------------------------------------------------------------------


def heard():
    """What the process did that a file must not make it do, from now on."""
    events = []

    def hear(event, arguments):
        told = str(arguments[:1])
        if event in ("os.system", "subprocess.Popen", "os.exec", "os.fork", "socket.connect"):
            events.append(event)
        if event == "open" and "passwd" in told:
            events.append(f"open {told}")
        if event == "import" and "a_strangers_module" in told:
            events.append(f"import {told}")

    sys.addaudithook(hear)
    return events


def outcome(attempt) -> str:
    try:
        attempt()
    except (ValueError, FileNotFoundError) as error:
        return f"refused: {error}" if HOUSE.fullmatch(str(error)) else f"traceback: {error!r}"
    except BaseException as error:
        return f"traceback: {error!r}"
    return "loaded"


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def little_memory():
    """No more than a gibibyte of address space besides what is in use."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def check_refused(said):
    assert said.startswith("refused: "), said
    assert not re.search("(?i)memoryerror|exhausted|oom|unable to allocate", said), said


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    make_good(folder)
    for load in honest(folder):  # once without a limit, as TensorFlow begins threads
        load()
    return folder


def honest(folder):
    yield lambda: aezoo.load_model(folder / "good.keras")
    yield lambda: small("dense_ae", hidden_units=(8,), weights=folder / "good.weights.h5")
    yield lambda: small("dense_ae", hidden_units=(8,), weights=folder / "good.keras")
    yield lambda: aezoo.dense_ae(weights=folder / "weights")
    yield lambda: load_detector(folder / "detector")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory as Linux does")
@pytest.mark.parametrize("name", [name for name in TRIALS if name not in LARGE])
def test_a_hostile_file_is_refused_in_one_sentence(name, good):
    folder = good / str(list(TRIALS).index(name))
    folder.mkdir()
    attempt = TRIALS[name](folder)
    with little_memory():
        said = outcome(attempt)
    check_refused(said)


@pytest.mark.parametrize(
    ("name", "cause"),
    {
        "20,000 squared of nothing, in an archive": r"vars/0 of its weights has shape \(20000, 200",
        "20,000 squared of nothing, alone": r"vars/0 of its weights has shape \(20000, 20000\)",
        "complex numbers, in an archive": "vars/0 of its weights is complex128, not real numbers",
        "complex numbers, alone": "vars/0 of its weights is complex128, not real numbers",
        "another shape, alone": r"has shape \(9, 7\), which no weight of the model has",
        "4,000,000 units": r"its model has 276,000,\d+ numbers, hidden_0/kernel of shape",
        "a configuration of 2 MB of zeros": "the member config.json would become 2,000,000 bytes",
        "an archive named .h5": "its name does not end in .keras",
        "an HDF5 file with an archive behind it": "it does not begin as a zip file",
        "get_file as loss": "dense_ae/compile_config/loss asks for keras.utils.get_file, which",
        "words of a file as layer": "dense_ae/encoder asks for keras.layers.StringLookup, which",
        "an unknown argument": r"PixelModel > Dense hidden_0: TypeError: Unrecognized keyword",
        "detector: no signatures": "the sha256 of model.keras is not that of detector.json",
        "detector: one signature less": "detector.json is not as it was saved",
        "weights: a code of 10^9": r"code/kernel of shape \(8, 1000000000\) among them",
        "a recipe with a code of 10^9": "The sizes of a model must fit into the memory",
    }.items(),
)
def test_the_sentence_says_what_is_wrong(name, cause, good):
    folder = good / f"said-{list(TRIALS).index(name)}"
    folder.mkdir()
    said = outcome(TRIALS[name](folder))
    assert re.search(cause, said), said


def try_all(folder, out) -> None:
    """Tries every file in this process, which is a fresh one."""
    folder = pathlib.Path(folder)
    make_good(folder)
    for load in honest(folder):
        load()
    attempts = {}
    for number, (name, write) in enumerate(TRIALS.items()):
        (folder / str(number)).mkdir()
        attempts[name] = write(folder / str(number))
    events, before, found = heard(), None, {}
    os.chdir(folder)
    for name, attempt in attempts.items():
        before = before or peak()
        found[name] = (outcome(attempt), list(events), peak() - before)
        events.clear()
    pathlib.Path(out).write_text(json.dumps(found))


@pytest.mark.slow
def test_no_hostile_file_runs_code_reads_another_or_takes_memory(tmp_path):
    out = tmp_path / "out.json"
    script = f"from tests.test_archive import try_all; try_all({str(tmp_path)!r}, {str(out)!r})"
    done = run_python("-c", script, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(out.read_text())
    assert list(found) == list(TRIALS)
    for name, (said, events, grown) in found.items():
        check_refused(said)
        assert not events, name
        assert grown < 500, name  # MiB above what was needed to write the files


# ------------------------------------------------------------------------------------------------
# What must still load
# ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", quick_for(("conv_ae", "pca_ae", "vq_vae")))
def test_every_model_of_the_zoo_loads(name, saved_models):
    folder = saved_models([name])
    path, expected = folder / f"{name}.keras", np.load(folder / f"{name}.npz")
    loaded = aezoo.load_model(path)
    np.testing.assert_allclose(loaded.encode(expected["x"]), expected["codes"], atol=1e-5)


def dense_network():
    """Objects where their names would do, an operation on tensors, noise, and a schedule."""
    inputs = keras.Input((12,))
    x = keras.layers.Dense(
        8,
        activation=keras.activations.gelu,
        kernel_initializer=keras.initializers.HeNormal(seed=1),
        kernel_regularizer=keras.regularizers.L2(1e-4),
        kernel_constraint=keras.constraints.MaxNorm(3),
        bias_constraint="non_neg",
    )(2 * inputs)
    x = keras.layers.PReLU()(keras.layers.GaussianNoise(0.1, seed=0)(x))
    x = keras.ops.concatenate([x, keras.ops.square(x)], -1)
    encoder = keras.Model(inputs, keras.layers.Dense(3, activation="tanh")(x))
    decoder = keras.Sequential(
        [keras.Input((3,)), keras.layers.SpectralNormalization(keras.layers.Dense(12))]
    )
    schedule = keras.optimizers.schedules.CosineDecay(1e-3, 100, warmup_steps=10)
    optimizer = keras.optimizers.AdamW(schedule, use_ema=True, clipnorm=1.0)
    return encoder, decoder, {"optimizer": optimizer, "loss": keras.losses.Huber(0.5)}


def image_network():
    """Convolutions under a mixed precision, attention, and augmentation."""
    policy = keras.DTypePolicy("mixed_bfloat16")
    convolution = {"padding": "same", "dtype": policy, "activation": "silu"}
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.RandomFlip(seed=0)(inputs)
    x = keras.layers.Conv2D(4, 3, strides=2, **convolution)(x)
    x = keras.layers.GroupNormalization(2)(keras.layers.SeparableConv2D(4, 3, **convolution)(x))
    x = keras.layers.Reshape((16, 4))(x)
    x = keras.layers.MultiHeadAttention(2, 2)(x, x)
    encoder = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(x)))
    decoder = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(64, dtype="bfloat16"),
            keras.layers.Reshape((8, 8, 1)),
            keras.layers.Conv2DTranspose(1, 3, padding="same", dtype="float32"),
        ]
    )
    return encoder, decoder, {"optimizer": "adafactor", "loss": keras.losses.log_cosh}


def series_network():
    """Wrapped and stacked recurrent layers."""
    layers = keras.layers
    cells = layers.StackedRNNCells([layers.LSTMCell(4), layers.GRUCell(4)])
    encoder = keras.Sequential(
        [keras.Input((6, 2)), layers.Bidirectional(layers.LSTM(4)), layers.Dense(3)]
    )
    decoder = keras.Sequential(
        [
            keras.Input((3,)),
            layers.RepeatVector(6),
            layers.RNN(cells, return_sequences=True),
            layers.TimeDistributed(layers.Dense(2)),
        ]
    )
    return (
        encoder,
        decoder,
        {"optimizer": keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())},
    )


@pytest.mark.parametrize("network", [dense_network, image_network, series_network])
def test_networks_of_keras_own_layers_load(network, request, tmp_path):
    if network is image_network:
        request.getfixturevalue("bfloat16")
    encoder, decoder, options = network()
    model = aezoo.autoencoder(encoder, decoder, **options)
    x = np.random.default_rng(0).random((4, *model.input_shape[1:]), "float32")
    model.train_on_batch(x)
    model.save(tmp_path / "a.keras")
    loaded = aezoo.load_model(tmp_path / "a.keras")
    np.testing.assert_allclose(loaded.encode(x), model.encode(x), atol=1e-3)
    assert loaded.optimizer.get_config() == model.optimizer.get_config()


def test_an_archive_that_was_compressed_again_loads(good, tmp_path):
    path = write_zip(tmp_path / "a.keras", members_of(good / "good.keras"), zipfile.ZIP_DEFLATED)
    for loaded, weight in zip(
        aezoo.load_model(path).get_weights(),
        aezoo.load_model(good / "good.keras").get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(loaded, weight)


@pytest.mark.slow
def test_a_changed_bit_is_refused_or_was_of_no_importance(good, tmp_path):
    whole = (good / "good.keras").read_bytes()
    expected = aezoo.load_model(good / "good.keras").get_weights()
    random, path, found = np.random.default_rng(0), tmp_path / "a.keras", []
    for at in random.integers(len(whole), size=100):
        changed = bytearray(whole)
        changed[at] ^= 1 << random.integers(8)
        path.write_bytes(changed)
        said = outcome(lambda: found.append(aezoo.load_model(path).get_weights()))
        if said != "loaded":
            check_refused(said)
            continue
        for weight, value in zip(found.pop(), expected, strict=True):
            np.testing.assert_array_equal(weight, value)


@pytest.mark.slow
def test_changed_bits_of_bare_weights_end_in_a_sentence(good, tmp_path):
    """There is no checksum, so a changed weight is a weight; the structure must hold."""
    script = "import sys; from tests.test_archive import flip_weights; flip_weights(*sys.argv[1:])"
    done = run_python("-c", script, good / "good.weights.h5", tmp_path / "a.weights.h5", cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]


def flip_weights(source, target):
    """In a process of its own, as the HDF5 library is not Python."""
    whole, random = pathlib.Path(source).read_bytes(), np.random.default_rng(0)
    for at in random.integers(len(whole), size=200):
        changed = bytearray(whole)
        changed[at] ^= 1 << random.integers(8)
        pathlib.Path(target).write_bytes(changed)
        said = outcome(lambda: small("dense_ae", hidden_units=(8,), weights=target))
        assert said == "loaded" or said.startswith("refused: "), said
