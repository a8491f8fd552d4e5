"""What all tests share: the digits, small models, and a fresh Keras state."""

import contextlib
import gc
import inspect
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
if "PYTEST_XDIST_WORKER" in os.environ:  # beside others, each of which would use every core
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
if os.environ.get("KERAS_BACKEND") == "jax":  # the tests compile for longer than they run
    quickly = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    os.environ.setdefault("XLA_FLAGS", quickly)

import keras
import numpy as np
import pytest

import aezoo
from aezoo.models._registry import get_factory

pytest_plugins = ["tests.support"]

STEP_BY_STEP = keras.backend.backend() == "tensorflow"  # JAX would compile every operation
ROOT = pathlib.Path(__file__).parent.parent
MASKED = {
    "embedding_dim": 32,
    "patch_size": 2,
    "depth": 1,
    "decoder_dim": 32,
    "decoder_depth": 1,
    "heads": 2,
}
SMALL = {
    "masked_ae": {**MASKED, "mask_ratio": 0.5},
    "vq_vae": {"codebook_size": 64},
    "patch_ae": {"filters": 30, "kernel_size": 3},
    "random_feature_ae": {"features": 50},
    "unet_ae": {"filters": (4, 8), "level": 0.2},
}
WITHOUT_CODE = ("unet_ae",)


def has_latent_dim(name):
    return "latent_dim" in inspect.signature(get_factory(name)).parameters


def small(name, shape=(8, 8, 1), latent_dim=4, seed=0, **options):
    size = {"latent_dim": latent_dim} if has_latent_dim(name) else {}
    return aezoo.create(name, shape, **{**size, **SMALL.get(name, {}), "seed": seed, **options})


def most(model, epochs):
    """So many epochs, or the one that a closed form needs."""
    return min(epochs, model.usual_epochs)


def train(model, x, epochs=1, step_by_step=True, **options):
    """Fits, without compiling where that takes longer than the few steps."""
    model.run_eagerly = step_by_step and STEP_BY_STEP
    return model.fit(x, epochs=most(model, epochs), verbose=0, **options).history


def quick_for(few, names=None):
    """Parameters of all models, of which those that are not among the few are slow."""
    names = aezoo.list_models() if names is None else names
    return [pytest.param(name, marks=[] if name in few else pytest.mark.slow) for name in names]


def is_closed_form(name):
    return get_factory(name).__module__.startswith("aezoo.closed_form")


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory):
    """JAX compiles the same computation of two models once, for all processes of the tests."""
    if keras.backend.backend() == "jax":
        import jax

        folder = tmp_path_factory.getbasetemp()
        folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
        jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(autouse=True)
def fresh_state():
    keras.utils.clear_session(free_memory=False)  # a collection costs more than most tests
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def little_to_collect():
    """What outlives a module of tests, TensorFlow first of all, is not looked through again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def bfloat16():
    """Skips where oneDNN must not use what the processor has, which TensorFlow does not look at.

    Its own `tf.nn.conv2d` fails in bfloat16 then, on a processor that has it.
    """
    if "ONEDNN_MAX_CPU_ISA" in os.environ:
        pytest.skip("oneDNN was told to leave out instructions that TensorFlow counts on")


@pytest.fixture(scope="session")
def digits() -> np.ndarray:
    """The 1,437 training digits, uint8 (samples, 8, 8, 1)."""
    return aezoo.data.arrays("digits")


@pytest.fixture(scope="session")
def test_digits() -> np.ndarray:
    return aezoo.data.arrays("digits", "test")


@pytest.fixture(scope="session")
def labelled() -> tuple[np.ndarray, np.ndarray]:
    """The training digits and their classes."""
    return aezoo.data.arrays("digits", labels=True)


@pytest.fixture(scope="session")
def tested() -> tuple[np.ndarray, np.ndarray]:
    """The test digits and their classes."""
    return aezoo.data.arrays("digits", "test", labels=True)


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory, digits):
    """A function of names that gives the folder of these models, each with what it makes of x.

    They are trained for 4 steps, once in a process of tests.
    """
    folder = tmp_path_factory.mktemp("models")
    x = digits[:32]

    def save(names) -> pathlib.Path:
        for name in names:
            if (folder / f"{name}.npz").exists():
                continue
            model = small(name)
            train(model, digits[:128])
            model.run_eagerly = False
            model.save(folder / f"{name}.keras")
            np.savez(folder / name, x=x, y=model.reconstruct(x), codes=model.encode(x))
        return folder

    return save


@contextlib.contextmanager
def full_disk(size: int = 1024):
    """No file can grow beyond so many bytes."""
    import resource  # which Windows has not

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def run_python(*arguments, cwd=None, env=None, timeout=600) -> subprocess.CompletedProcess:
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
