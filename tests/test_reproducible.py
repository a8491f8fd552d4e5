"""One seed, one set of weights: bit for bit, in any process on one machine."""

import hashlib
import json
import time

import keras
import numpy as np
import pytest

import aezoo
from tests.conftest import ROOT, most, run_python, small

MODELS = aezoo.list_models()
WAYS = ("eager", "fused", "compiled")  # Keras's own loop; blocks of steps; those under XLA
QUICK = {"eager": ["masked_ae", "patch_ae", "vq_vae"], "fused": ["vae"]}


def trained_hashes(models: dict[str, list[str]], samples: int, epochs: int) -> dict[str, str]:
    """The sha256 of the weights of each model after some epochs, by way and name."""
    x = aezoo.data.arrays("digits")[:samples]
    found = {}
    for way, names in models.items():
        for name in names:
            keras.utils.clear_session()
            model = small(name, seed=3, jit_compile=way == "compiled")
            model.run_eagerly = way == "eager"
            batches = aezoo.data.load(x, batch_size=8, seed=3)
            model.fit(batches, epochs=most(model, epochs), verbose=0)
            weights = b"".join(array.tobytes() for array in model.get_weights())
            found[f"{way} {name}"] = hashlib.sha256(weights).hexdigest()
    return found


def in_a_fresh_process(models, samples, epochs, salt) -> dict[str, str]:
    script = (
        "import json, sys; from tests.test_reproducible import trained_hashes;"
        "print(json.dumps(trained_hashes(json.loads(sys.argv[1]), *map(int, sys.argv[2:]))))"
    )
    arguments = (json.dumps(models), samples, epochs)
    hashing = {"PYTHONHASHSEED": str(salt)}
    done = run_python("-c", script, *arguments, cwd=ROOT, env=hashing, timeout=1200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_seed_gives_the_same_weights_in_another_process():
    """Whatever this process drew and trained before."""
    assert in_a_fresh_process(QUICK, 16, 1, salt=1) == trained_hashes(QUICK, 16, 1)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_seed_gives_the_same_weights_in_two_fresh_processes(way):
    one, two = (in_a_fresh_process({way: MODELS}, 200, 2, salt) for salt in (1, 2))
    assert one == two
    assert len(set(one.values())) == len(MODELS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("denoising_ae", "--augment", "0.1", "--early-stopping", "5"),
        ("vae", "--epochs", "3", "--jit-compile", "true"),
        ("random_feature_ae", "--features", "60"),
    ],
)
def test_the_seed_of_the_command_line_fixes_everything(options, tmp_path):
    name, *rest = options
    rest = rest if name == "random_feature_ae" or "--epochs" in rest else [*rest, "--epochs", "3"]
    for out in ("one", "two"):
        done = run_python(
            "-m", "aezoo", "train", name, *rest, "--seed", 5, "--limit", 200, "--out",
            tmp_path / out,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    one, two = (aezoo.load_model(tmp_path / out).get_weights() for out in ("one", "two"))
    assert all((a == b).all() for a, b in zip(one, two, strict=True))


def test_set_random_seed_fixes_the_order_of_arrays_with_labels(labelled):
    """The batches of a conditional model are made in Python, and drawn from its seed."""
    x, y = (part[:64] for part in labelled)
    runs = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        model = small("vae", num_classes=10, hidden_units=(8,))
        model.run_eagerly = True
        model.fit(x, y, epochs=1, verbose=0)
        runs.append(model.get_weights())
    assert all((a == b).all() for a, b in zip(*runs, strict=True))


def test_augmentation_does_not_depend_on_how_far_the_pipeline_reads_ahead(digits):
    from aezoo.training.tensorflow_augment import augmented

    epochs = []
    for ahead in (1, 8):
        pipeline = augmented(aezoo.data.load(digits[:80], batch_size=8, seed=1), 0.1, seed=1)
        pipeline = pipeline.prefetch(ahead)
        epochs.append([])
        for _ in range(2):
            batches = iter(pipeline)
            epochs[-1].append(np.stack([next(batches) for _ in range(3)]))
            time.sleep(1)  # in which it reads ahead
            del batches
    np.testing.assert_array_equal(*epochs)
    assert (epochs[0][0] != epochs[0][1]).any()
