"""What all tests share: the digits, small models, and a fresh Keras state."""

import os
import pathlib
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest

import aezoo

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def fresh_state():
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """The 1,437 training digits, uint8 (samples, 8, 8, 1)."""
    return aezoo.data.arrays("digits")


@pytest.fixture(scope="session")
def test_digits() -> np.ndarray:
    return aezoo.data.arrays("digits", "test")


def run_python(*arguments, cwd=None, env=None, timeout=180) -> subprocess.CompletedProcess:
    """A fresh Python process, as a user starts one."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def tfds_folder(name: str) -> str | None:
    """The folder of TensorFlow Datasets where a data set is prepared, or None."""
    candidates = [os.environ.get("TFDS_DATA_DIR"), pathlib.Path.home() / "tensorflow_datasets"]
    return next((str(c) for c in candidates if c and (pathlib.Path(c) / name).is_dir()), None)
