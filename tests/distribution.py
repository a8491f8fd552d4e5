"""Programs of tests/test_distribution.py: `python -m tests.distribution mirrored OPTIONS`.

Each goes through a few models, or with an option through the whole zoo, in one process, and
prints a line of JSON for each model.
"""

import json
import os
import signal
import sys
import tempfile
import time
import zlib

import keras
import numpy as np
import tensorflow as tf

import aezoo
from tests.conftest import is_closed_form, most, small

BATCH = 48
FEW = ("dense_ae", "pca_ae", "vq_vae")
SAVED = ("conv_ae", "dense_ae", "pca_ae")
VARIANTS = {"sparse_ae of kl": {"penalty": "kl"}}  # whose statistics are of the whole batch
OWN_NOISE = {"adversarial_ae", "denoising_ae", "masked_ae", "unet_ae", "vae", "wae"}


def data():
    """So many digits that the last batch is a smaller one, and has an odd number of them."""
    return aezoo.data.arrays("digits")[:71]


def made(name, compiled, **variant):
    """Under SGD where a step is to be the same to the last digit, as Adam hides its scale.

    The steps of dense_ae alone are compiled, unless `--compiled` is given.
    """
    options = {} if name in OWN_NOISE else {"optimizer": "sgd", "learning_rate": 0.1}
    model = small(name, **options, **variant)
    for part in (model,) if model.code_size is None else (model, model.encoder):
        part.run_eagerly = not compiled
    return model


def trained(model):
    return model.fit(data(), batch_size=BATCH, shuffle=False, verbose=0).history


def difference(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def compared(name, compiled, scope, alone=True, saved=True, **variant):
    """What the tests check of a model that is trained under a strategy."""
    begun, x = time.process_time(), data()
    with scope:
        model = made(name, compiled, **variant)
    history = trained(model)
    found = {
        "name": name,
        "loss": history["loss"][-1],
        "mse": float(model.reconstruction_error(x).mean()),
        "weights": zlib.crc32(b"".join(weight.tobytes() for weight in model.get_weights())),
    }
    if saved:
        found["evaluated_mse"] = model.evaluate(x, verbose=0, return_dict=True)["mse"]
        with tempfile.TemporaryDirectory() as folder:
            model.save(f"{folder}/model.keras")
            loaded = aezoo.load_model(f"{folder}/model.keras")
        loaded.run_eagerly = True
        whole = loaded(x, training=False).numpy()
        found["saved"] = {
            "weights": difference(model, loaded),
            "evaluated_mse": loaded.evaluate(x, verbose=0, return_dict=True)["mse"],
            "codes": code_difference(model, loaded, x),
            "reconstructions": float(np.abs(model.reconstruct(x) - whole).max()),
        }
    if alone:
        single = made(name, False, **variant)
        found["alone"] = {
            "loss": trained(single)["loss"][-1],
            "mse": float(single.reconstruction_error(x).mean()),
        }
        found["alone"]["difference"] = difference(model, single)
    return {**found, "seconds": round(time.process_time() - begun, 2)}


def code_difference(model, loaded, x):
    """Between `encode` under a strategy and the encoder of a model that was loaded; 0 without."""
    if model.code_size is None:
        return 0.0
    return float(np.abs(model.encode(x) - loaded.encoder(x).numpy()).max())


def say(**found):
    print(json.dumps(found), flush=True)


def mirrored(every):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    for name in aezoo.list_models() if every else FEW:
        say(**compared(name, name == "dense_ae", strategy.scope(), saved=name in SAVED))
    for label, variant in VARIANTS.items() if every else ():
        found = compared(label.split()[0], False, strategy.scope(), saved=False, **variant)
        say(**{**found, "name": label})
    conditional(strategy)


def multiworker(compiled, folder):
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    chief = strategy.cluster_resolver.task_id == 0
    for name in aezoo.list_models() if compiled else FEW:
        here = compiled or name == "dense_ae"
        alone = chief and (name in SAVED or is_closed_form(name))
        say(**compared(name, here, strategy.scope(), alone, compiled or name in SAVED))
    pipelines(strategy)
    resumed(strategy, folder)
    lost(strategy, chief)


def conditional(strategy):
    """A model of inputs and labels, whose batches are a `keras.utils.PyDataset`."""
    labels = np.arange(len(data())) % 10
    with strategy.scope():
        model = small("vae", num_classes=10)
    model.run_eagerly = True
    losses = model.fit(data(), labels, epochs=2, verbose=0).history["loss"]
    drawn = model.generate(3, seed=0, labels=1)
    say(name="conditional", losses=losses, drawn=drawn.shape)


def pipelines(strategy):
    """The same weights from a pipeline that shuffles by a seed, and from any `tf.data` one."""
    x = data()
    shuffled = aezoo.data.load(x, batch_size=BATCH, seed=3)
    plain = tf.data.Dataset.from_tensor_slices(x).batch(BATCH)
    unknown = plain.filter(lambda batch: True)
    for name, dataset in {"shuffled": shuffled, "plain": plain, "unknown": unknown}.items():
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = made("pca_ae" if name == "unknown" else "contractive_ae", False)
        keras.utils.set_random_seed(0)
        single = small(model.name, optimizer="sgd", learning_rate=0.1)
        for one in (model, single):
            one.fit(dataset, epochs=most(one, 2), verbose=0)
        say(name=name, difference=difference(model, single))


class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            raise RuntimeError("stopped")


def resumed(strategy, folder):
    """The recipe, stopped in its second epoch and resumed by models that know nothing."""
    options = {"epochs": 3, "out": folder, "batch_size": 64, "limit": 127, "verbose": False}
    with strategy.scope():
        model = made("contractive_ae", False)
    stopped = ""
    try:
        aezoo.train(model, "digits", callbacks=(Stop(),), **options)
    except RuntimeError as error:
        stopped = str(error)
    left = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    with strategy.scope():
        other = made("contractive_ae", False)
        inside = ""
        try:
            aezoo.train(other, "digits", resume=True, **options)
        except ValueError as error:
            inside = str(error)
    run = aezoo.train(other, "digits", resume=True, **options)
    again = aezoo.train(other, "digits", resume=True, **options)
    say(
        name="resumed", stopped=stopped, inside=inside, left=left, epochs=run.history["epoch"],
        mse=run.metrics["mse"], again=again.metrics["mse"], folder=str(run.folder),
        files=sorted(os.listdir(folder)) if os.path.isdir(folder) else [],
        weights=[float(np.abs(weight).sum()) for weight in again.model.get_weights()],
    )  # fmt: skip


def lost(strategy, chief):
    """One worker is killed; the other says so."""
    with strategy.scope():
        model = made("contractive_ae", False)
    if not chief:
        os.kill(os.getpid(), signal.SIGKILL)
    begun = time.monotonic()
    try:
        model.fit(data(), epochs=1000, verbose=0)
    except ConnectionError as error:
        say(name="lost", error=str(error), seconds=time.monotonic() - begun)


if __name__ == "__main__":
    compiled = "--compiled" in sys.argv
    if sys.argv[1] == "mirrored":
        mirrored("--all" in sys.argv)
    else:
        multiworker(compiled, sys.argv[2])
