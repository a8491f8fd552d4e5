"""Weights of a model by path."""

from __future__ import annotations

import pathlib


def load_weights(model, weights) -> None:
    """Puts the weights of a `.weights.h5` or `.keras` file into a model of that shape.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file does not fit the model.
    """
    path = pathlib.Path(weights)
    if not path.name.endswith((".weights.h5", ".keras")):
        raise ValueError(
            "`weights` must be None or the path of a .weights.h5 or .keras file. "
            f"Received: {weights!r}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"`weights` must be an existing file. Received: {weights!r}")
    try:
        if path.suffix == ".keras":
            from aezoo._autoencoder import load_model

            model.set_weights(load_model(path).get_weights())
        else:
            model.load_weights(path)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"`weights` must be a whole file that fits {model.name} ({reason[:200]}). "
            f"Received: {weights!r}"
        ) from error
