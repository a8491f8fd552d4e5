"""What a file from a stranger may hold: the names of modelling parts, and arrays that fit them.

Nothing is read from a file before its size is compared with the bytes that the file really has,
and with the weights that a model of its config would have.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import pathlib
import shutil
import sys
import tempfile
import zipfile

import h5py
import keras

from aezoo.inputs.arguments import reason_of, shortened
from aezoo.saving.dry_run import sizes_of

CONFIG, METADATA, WEIGHTS, ASSETS = "config.json", "metadata.json", "model.weights.h5", "assets/"
# A member that `aezoo.train` adds to its checkpoints: random states and patience, to resume from.
TRAINING = "training.npz"
# In bytes. A layer takes about 1,500; 4 MiB of empty lists took 290 MiB of memory.
LARGEST_CONFIG = 2 * 2**20
# Of a member's size to its compressed size: near 1 for weights, and up to 1,000 for zeros.
LARGEST_RATIO = 100
# In bytes; a member of up to this size may have any ratio, as it cannot fill the memory.
CHUNK = 2**20
# Elements, 16 MiB in float32, that a model may have beyond its file, such as constants of layers.
SLACK = 2**22
# Classes or thresholds: AUC makes a Python list of its thresholds, which costs memory even in the
# dry run.
METRIC_LARGEST = 100_000

# Lambda holds byte code, TorchModuleWrapper a pickle and TFSMLayer the path of a SavedModel; the
# layers of JAX and Flax call functions that their config names.
RUNS_CODE = tuple(
    getattr(keras.layers, name)
    for name in ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer")
)
CLASSES = (
    keras.Operation,  # layers, models, and operations on tensors
    keras.constraints.Constraint,
    keras.dtype_policies.DTypePolicy,
    keras.initializers.Initializer,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.quantizers.Quantizer,
    keras.random.SeedGenerator,
    keras.regularizers.Regularizer,
)
# The modules that Keras searches for a function that is named alone. Its other public modules also
# hold functions that download, write files or change settings.
FUNCTIONS = tuple(
    f"keras.{name}"
    for name in (
        "activations",
        "constraints",
        "initializers",
        "losses",
        "metrics",
        "optimizers",
        "regularizers",
    )
)
CLASS_MODULES = (
    *FUNCTIONS,
    "keras",
    "keras.dtype_policies",
    "keras.layers",
    "keras.models",
    "keras.optimizers.schedules",
    "keras.quantizers",
    "keras.random",
)
# Functions of those modules that are no activation, loss and so on.
HELPERS = ("get", "serialize", "deserialize")
# Keras's markers of plain values; `__lambda__`, which holds byte code, and `__typespec__`, which
# stands for a class, are not among them.
VALUES = ("__keras_tensor__", "__bytes__", "__ellipsis__", "__slice__")
ARRAYS = ("__tensor__", "__numpy__")


class Refused(ValueError):
    """What is wrong with a file, as a part of a sentence."""


def reason(error) -> str:
    """What is wrong with a file, as we or another package say it."""
    kind = "" if isinstance(error, Refused) else f"{type(error).__name__}: "
    return f"{kind}{reason_of(error)}"


def check_archive(path, name: str = "path") -> None:
    """Checks a `.keras` file before any part of it is built.

    Args:
        path: The file.
        name: Name of the argument, for the error message.

    Raises:
        ValueError: if the file is not whole, asks for code or for a class or function that is
            neither one of Keras's for models nor registered, or has weights that do not fit its
            model. Nothing of it is imported, and no memory is taken for its weights.
    """
    path = pathlib.Path(path)
    try:
        # Keras chooses its reader by the suffix. An HDF5 model with a good archive behind it, named
        # .h5, would be checked as the archive and loaded as the HDF5 model.
        if path.suffix != ".keras":
            raise Refused("its name does not end in .keras")
        with zipfile.ZipFile(path) as archive:
            check_members(archive, path)
            text = _read_config(archive)
            parts = Parts(json.loads(text))
            with _opened(archive) as file:
                shapes = check_h5(file)
    except Exception as error:  # zipfile, zlib, json and h5py have many of their own
        raise ValueError(
            f"`{name}` must be a whole .keras file ({reason(error)}). Received: {path}"
        ) from error
    if parts.foreign is not None:
        what, where = parts.foreign
        raise ValueError(
            f"`{name}` must be a file of Keras's own classes and of registered ones, which need no "
            f"code from the file; {shortened(where, 100)} asks for {shortened(what)}, which was "
            f"not loaded. Received: {path}"
        )
    try:
        _compare(text, parts, shapes)
    except Exception as error:  # whatever Keras says of a configuration
        raise ValueError(
            f"`{name}` must be a whole .keras file of an autoencoder ({told(error)}). "
            f"Received: {path}"
        ) from error


def check_members(archive: zipfile.ZipFile, path) -> None:
    """Checks that every member of a zip file is whole and has the size that it states.

    Raises:
        Refused: before anything is read, if a member would become unbelievably large.
    """
    size = pathlib.Path(path).stat().st_size
    # zipfile looks for an archive from the end, so that any other file may stand before it.
    with pathlib.Path(path).open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise Refused("it does not begin as a zip file")
    members = archive.infolist()
    names = [member.filename for member in members]
    # zipfile opens the last one of a name; another reader might take the first.
    if len(set(names)) < len(names):
        raise Refused("it has two members of the same name")
    # Members that share the same bytes would make a small file large, each at a modest ratio.
    if sum(member.compress_size for member in members) > size:
        raise Refused("its members are larger than the file")
    for member in members:
        name = shortened(member.filename, 60)
        parts = member.filename.replace("\\", "/").split("/")
        if parts[0] == "" or ".." in parts or ":" in parts[0]:
            raise Refused(f"the member {name} is outside of the file's folder")
        # On Unix, the upper half of these attributes is the mode of the file.
        if member.external_attr >> 16 & 0o170000 == 0o120000:
            raise Refused(f"the member {name} is a symbolic link")
        if member.flag_bits & 1:
            raise Refused(f"the member {name} is encrypted")
        # Keras stores members as they are, and NumPy deflates them; neither writes another kind.
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Refused(f"the member {name} is compressed with another method than deflate")
        if member.file_size > max(CHUNK, LARGEST_RATIO * member.compress_size):
            raise Refused(
                f"the member {name} would become {member.file_size:,} bytes from "
                f"{member.compress_size:,}"
            )
    for member in members:
        with archive.open(member) as content:
            read = 0
            # In chunks, as a member may be larger than the memory; zipfile compares the checksum
            # once it reaches the end.
            while chunk := content.read(CHUNK):
                read += len(chunk)
        if read != member.file_size:
            raise Refused(f"the member {shortened(member.filename, 60)} is damaged")


def _read_config(archive) -> bytes:
    names = archive.namelist()
    for name in names:
        if name not in (CONFIG, METADATA, WEIGHTS, TRAINING) and not name.startswith(ASSETS):
            raise Refused(f"the member {shortened(name, 60)} is not part of a .keras file")
    for name in (CONFIG, WEIGHTS):
        if name not in names:
            raise Refused(f"it has no {name}")
    if archive.getinfo(CONFIG).file_size > LARGEST_CONFIG:
        raise Refused(f"its {CONFIG} is larger than {LARGEST_CONFIG:,} bytes")
    return archive.read(CONFIG)


@contextlib.contextmanager
def _opened(archive):
    """The HDF5 file in an archive; one that is compressed goes to the disk, not to memory."""
    with archive.open(WEIGHTS) as member, contextlib.ExitStack() as files:
        # HDF5 jumps to and fro in a file, and zipfile can only go back in a compressed member by
        # inflating it again from the start.
        if archive.getinfo(WEIGHTS).compress_type != zipfile.ZIP_STORED:
            whole = files.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(member, whole)
            member = whole
        yield files.enter_context(h5py.File(member, "r"))


def check_h5(file: h5py.File) -> dict[str, tuple[int, ...]]:
    """The shape of each array of a weights file, without reading any of them.

    Raises:
        Refused: if one does not hold numbers, stored as Keras stores them, or has another size
            than it states.
    """
    shapes, seen, total = {}, set(), 0
    waiting = [("", file)]
    while waiting:
        path, group = waiting.pop()
        for name in group:
            where = f"{path}/{name}".lstrip("/")
            # `getlink` does not follow the link, which may lead to any file of the machine.
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise Refused(f"{shortened(where)} of its weights is a link to somewhere else")
            found = group[name]
            # A hard link may lead back to a group above, which would be walked without end.
            key = h5py.h5o.get_info(found.id).addr
            if key in seen:
                raise Refused(f"{shortened(where)} of its weights appears twice")
            seen.add(key)
            if isinstance(found, h5py.Group):
                waiting.append((where, found))
                continue
            shapes[where] = _shape(found, shortened(where))
            total += _bytes(found)
            # Each array is stored in full, so together they are only larger if they share bytes.
            if total > file.id.get_filesize():
                raise Refused("the arrays of its weights are larger than the file")
    return shapes


def _shape(found, where):
    if not isinstance(found, h5py.Dataset) or found.shape is None:
        raise Refused(f"{where} of its weights is not an array")
    if found.external or found.is_virtual:
        raise Refused(f"{where} of its weights is stored in another file")
    # A chunked array may be compressed inside of HDF5 and state any shape: 44 kB took 11 GB. One
    # that was never written has no storage, and would be read as its fill value in any shape.
    if found.chunks is not None or found.id.get_storage_size() != _bytes(found):
        raise Refused(
            f"{where} of its weights has shape {found.shape} and is not stored in full, as Keras "
            "stores arrays"
        )
    bfloat16 = False
    # HDF5 has no bfloat16: Keras stores the bytes and this attribute. It is compared only if it is
    # a single value, as a stranger may have stored an array of any size in its place.
    if "dtype" in found.attrs:
        attribute = found.attrs.get_id("dtype")
        bfloat16 = attribute.shape == () and found.attrs["dtype"] == "bfloat16"
    numbers = found.dtype.kind in "fiub" and found.dtype.itemsize <= 8
    if not numbers and not (bfloat16 and found.dtype.itemsize == 2):
        raise Refused(f"{where} of its weights is {shortened(found.dtype, 40)}, not real numbers")
    return found.shape


def _bytes(found: h5py.Dataset) -> int:
    # Python's integers, as h5py's own `nbytes` overflows for the shapes that must be refused.
    return math.prod(found.shape) * found.dtype.itemsize


class Parts:
    """What a config is made of.

    Attributes:
        foreign: (what, where) of the first part that is code or from elsewhere; None without one.
        registered: The registered objects that it names, by their names.
    """

    def __init__(self, config):
        self.foreign, self.registered = None, {}
        if not isinstance(config, dict):
            raise Refused(f"its {CONFIG} is not an object")
        waiting = [("", config)]
        while waiting and self.foreign is None:
            where, part = waiting.pop()
            if isinstance(part, list):
                # Empty children do not wait, as there may be a million of them in a small file.
                waiting.extend((where, child) for child in part if child)
            elif isinstance(part, dict):
                where = f"{where}/{_label(part)}".strip("/")
                if "class_name" in part and not self._allowed(part):
                    self.foreign = _text(part), where or "the model"
                for key, child in part.items():
                    if isinstance(child, (dict, list)):
                        inside = where if key in ("config", "layers") else f"{where}/{key}"
                        waiting.append((inside, child))

    def _allowed(self, part) -> bool:
        name, module, inner = part["class_name"], part.get("module"), part.get("config")
        if not isinstance(name, str):
            return False
        if name in VALUES:
            return True
        if name in ARRAYS:
            # NumPy takes 40 MB for each element of a dtype such as U9999999.
            return isinstance(inner, dict) and _is_dtype(inner.get("dtype"))
        if not _called_with_tensors(part.get("inbound_nodes", [])):
            return False
        if name == "function":
            return self._allowed_function(module, inner, part.get("registered_name"))
        found = self._registered(part.get("registered_name", name))
        if found is None:
            found = _class_of_keras(module, name)
        if not isinstance(found, type):
            return False
        # A class that the user registered is theirs to trust, unless it inherits what runs code.
        if not found.__module__.startswith("keras."):
            return not issubclass(found, RUNS_CODE)
        return issubclass(found, CLASSES) and _harmless(found, inner)

    def _allowed_function(self, module, name, registered_name) -> bool:
        if self._registered(name) is not None:
            return True
        # Keras reads the name of a function from `config` in one place and from `registered_name`
        # in another, so they must agree.
        if registered_name not in (None, "function", name) or not isinstance(module, str):
            return False
        modules = FUNCTIONS if module == "builtins" else {module}.intersection(FUNCTIONS)
        # `getattr` would also find what every module has, such as `__class__`.
        found = [vars(_public(place)).get(name) for place in modules]
        return name not in HELPERS and any(map(inspect.isfunction, found))

    def _registered(self, name):
        found = keras.saving.get_registered_object(name) if isinstance(name, str) else None
        if found is not None:
            self.registered[name] = found
        return found


def _class_of_keras(module, name):
    """A class that Keras exports, or has already imported."""
    if module in CLASS_MODULES:
        place = _public(module)
    elif isinstance(module, str) and module.startswith("keras.src."):
        # An inner module is looked up and not imported, since to import a module is to run it.
        place = sys.modules.get(module)
    else:
        place = None
    return vars(place).get(name) if place is not None else None


def _public(module: str):
    """A module of Keras by its public name."""
    place = keras
    for name in module.split(".")[1:]:
        place = vars(place).get(name)
        if not isinstance(place, type(keras)):
            return None
    return place


def _harmless(found, config) -> bool:
    """Whether a part of Keras runs no code, reads no file, and makes no huge list."""
    values = config if isinstance(config, dict) else {}
    if issubclass(found, keras.metrics.Metric):
        numbers = [value for value in values.values() if isinstance(value, (int, float))]
        return not any(abs(value) > METRIC_LARGEST for value in numbers)
    # A vocabulary that is a text is a path, and Keras would read that file.
    return not issubclass(found, RUNS_CODE) and not isinstance(values.get("vocabulary"), str)


def _is_dtype(dtype) -> bool:
    try:
        return dtype != "string" and bool(keras.backend.standardize_dtype(dtype))
    except (TypeError, ValueError):
        return False


def _called_with_tensors(nodes) -> bool:
    """Whether a layer is called with tensors of the model; a call with numbers is computed."""
    return isinstance(nodes, list) and all(
        node and (isinstance(node, list) or "__keras_tensor__" in json.dumps(node))
        for node in nodes
    )


def _label(part) -> str:
    config = part.get("config")
    name = config.get("name") if isinstance(config, dict) and "class_name" in part else None
    return name if isinstance(name, str) else ""


def _text(part) -> str:
    name, module = part["class_name"], part.get("module")
    name = part.get("config") if name == "function" else name
    return f"{module}.{name}" if module else str(name)


def _compare(text, parts, shapes) -> None:
    """Compares what a model would hold with what its file holds."""

    def build():
        config = json.loads(text)
        compiled = config.pop("compile_config", None) or {}
        made = [keras.saving.deserialize_keras_object(config, custom_objects=parts.registered)]
        # The optimizer is left out: its variables get their values at once, in a dry run too.
        for key in ("loss", "metrics", "weighted_metrics"):
            part = compiled.get(key) if isinstance(compiled, dict) else None
            made.append(keras.saving.deserialize_keras_object(part, parts.registered))
        return made

    own = any(map(is_users, parts.registered.values()))
    try:
        needed = sizes_of(build)
    except Exception:
        # A user's class may make its variables in a way that does not work without values.
        if own:
            return
        raise
    compare(needed, shapes, exact=not own)


def is_users(found) -> bool:
    """Whether a class or function is neither Keras's nor ours."""
    return str(getattr(found, "__module__", "")).split(".")[0] not in ("aezoo", "keras")


def compare(needed, shapes, exact: bool = False) -> None:
    """Compares the arrays that a model needs with those of a file.

    Args:
        needed: Pairs (path, shape).
        shapes: {path in the file: shape}.
        exact: Whether each array of a layer must have the shape of a weight; a user's own class
            may save others, which are only refused where they are large.

    Raises:
        Refused: if the model is much larger than the file, or the file has an array that the
            model does not have.
    """
    # The dry run makes no optimizer to compare with; `check_h5` has bounded its arrays by the file.
    layers = {path: shape for path, shape in shapes.items() if not path.startswith("optimizer/")}
    stored = sum(math.prod(shape) for shape in layers.values())
    total = sum(math.prod(shape) for _, shape in needed)
    if total > stored + SLACK:
        path, shape = max(needed, key=lambda pair: math.prod(pair[1]))
        raise Refused(
            f"its model has {total:,} numbers, {shortened(path, 100)} of shape {shape} among "
            f"them, and its file has {stored:,}"
        )
    known = {shape for _, shape in needed}
    for path, shape in layers.items():
        large = math.prod(shape) > (0 if exact and path.startswith("layers/") else CHUNK)
        if large and shape not in known:
            raise Refused(
                f"{shortened(path)} of its weights has shape {shape}, which no weight of the "
                "model has"
            )


def told(error) -> str:
    """What Keras says of a part that it cannot build, and which part that is."""
    if isinstance(error, Refused):
        return str(error)
    # Keras's message does not name the part, but the frames that were building it hold its config.
    labels, raised = [], error
    while raised is not None:
        trace = raised.__traceback__
        while trace is not None:
            config = trace.tb_frame.f_locals.get("config")
            if trace.tb_frame.f_code.co_name == "deserialize_keras_object":
                labels.append(_title(config))
            trace = trace.tb_next
        raised = raised.__context__
    # Each model around the part may repeat its whole config before or after the actual reason.
    text = str(error).rsplit("Exception encountered: ", 1)[-1].split("Full object config")[0]
    labels = [label for label in dict.fromkeys(labels) if label]
    where = f"{shortened(' > '.join(labels), 150)}: " if labels else ""
    return f"{where}{type(error).__name__}: {shortened(text, 300).rstrip('. ')}"


def _title(part) -> str:
    """`Dense dense_1` of the configuration of that layer."""
    if not isinstance(part, dict) or not isinstance(part.get("class_name"), str):
        return ""
    return shortened(f"{part['class_name']} {_label(part)}".strip(), 60)
