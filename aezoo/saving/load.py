"""Models and weights loaded from a path."""

from __future__ import annotations

import h5py
import keras

from aezoo.backends import keras_private
from aezoo.inputs.arguments import check_path, reason_of
from aezoo.model_classes.reconstruction_model import ReconstructionModel
from aezoo.saving.archive import check_archive, check_h5, compare, is_users, told


def load_model(path) -> ReconstructionModel:
    """Loads a model that `model.save(path)` wrote, with its optimizer.

    A file from a stranger runs no code: a file that asks for code, or for a class or function that
    is neither one of Keras's for models nor registered, is refused before any part of it is built.
    A file whose weights do not fit its model is refused before they are read.

    Args:
        path: A `.keras` file, or a run folder that holds `model.keras`.

    Returns:
        The compiled `Autoencoder` or `ReconstructionModel`; `fit` continues where it stopped.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is not a whole `.keras` file of an autoencoder, or asks for
            code.
    """
    path = check_path("path", path)
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file():
        raise FileNotFoundError(f"`path` must be a .keras file or a run folder. Received: {path}")
    return _load(path, "path")


def _load(path, name) -> ReconstructionModel:
    check_archive(path, name)
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # whatever Keras says of a configuration or of weights
        raise ValueError(
            f"`{name}` must be a whole .keras file of an autoencoder ({told(error)}). "
            f"Received: {path}"
        ) from error
    # A whole Keras model of another kind passes every check before.
    if not isinstance(model, ReconstructionModel):
        raise ValueError(
            f"`{name}` must hold an aezoo Autoencoder. Received: a {type(model).__name__} in {path}"
        )
    return model


def image_size(model) -> tuple[int, int] | None:
    """Height and width that images must have for a model; None where it takes other data."""
    return model.input_shape[1:3] if len(model.input_shape) == 4 else None


def load_weights(model, weights) -> None:
    """Puts the weights of a `.weights.h5` or `.keras` file into a model of that shape.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file does not fit the model.
    """
    path = check_path("weights", weights)
    if not path.name.endswith((".weights.h5", ".keras")):
        raise ValueError(
            "`weights` must be None or the path of a .weights.h5 or .keras file. "
            f"Received: {weights!r}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"`weights` must be an existing file. Received: {weights!r}")
    if path.suffix == ".keras":
        # Outside of the `try`, since its errors are whole sentences already.
        found = _load(path, "weights").get_weights()
    try:
        if path.suffix == ".keras":
            model.set_weights(found)
        else:
            # Keras itself compares the shape of an array only after it has read all of it.
            needed = [(weight.path, tuple(weight.shape)) for weight in model.variables]
            # A user's layer may save arrays of its own that are no weights of the model.
            exact = not any(map(is_users, map(type, keras_private.all_layers(model))))
            with h5py.File(path, "r") as file:
                compare(needed, check_h5(file), exact)
            model.load_weights(path)
    except Exception as error:
        reason = told(error) if path.suffix != ".keras" else reason_of(error, type(error).__name__)
        raise ValueError(
            f"`weights` must be a whole file that fits {model.name} ({reason}). "
            f"Received: {weights!r}"
        ) from error
