"""The recipe: its run folder, its schedule, interruption, resumption."""

import json
import signal

import keras
import numpy as np
import pytest

import aezoo
from aezoo.inputs.arrays import to_numpy

FILES = {
    "model.keras",
    "config.json",
    "history.csv",
    "metrics.json",
    "reconstructions.png",
    "history.png",
}


def model(compiled=False, **options):
    """A small net, without a compilation where that takes longer than a few epochs."""
    model = aezoo.dense_ae((8, 8, 1), 8, hidden_units=(32,), seed=0, **options)
    model.run_eagerly = not compiled and model.compiled
    return model


class StopAfter(keras.callbacks.Callback):
    """Stands for a kill or a Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch, error):
        super().__init__()
        self.epoch, self.error, self.now = epoch, error, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch and batch >= 2:
            raise self.error


def same(one, two):
    return all((a == b).all() for a, b in zip(one.get_weights(), two.get_weights(), strict=True))


def test_run_folder_holds_everything_whole(tmp_path):
    run = aezoo.train(model(compiled=True), "digits", 3, tmp_path / "run", seed=0, verbose=False)
    assert {path.name for path in run.folder.iterdir()} == FILES
    config = json.loads((run.folder / "config.json").read_text())
    assert config["model"] == "dense_ae"
    assert config["arguments"]["latent_dim"] == 8
    assert config["training"]["epochs"] == 3
    assert config["versions"]["keras"] == keras.__version__
    metrics = json.loads((run.folder / "metrics.json").read_text())
    assert metrics == json.loads(json.dumps(run.metrics))
    assert metrics["evaluated_on"] == "test"
    assert metrics["samples"] == 360
    rows = (run.folder / "history.csv").read_text().splitlines()
    assert rows[0] == "epoch,loss,mse,learning_rate,seconds"
    assert len(rows) == 4
    assert same(aezoo.load_model(run.folder), run.model)


def test_metrics_are_those_of_the_model_and_of_scikit_learns_pca(digits, test_digits):
    from sklearn.decomposition import PCA

    run = aezoo.train(model(), "digits", 2, verbose=False)
    assert run.metrics["mse"] == pytest.approx(
        run.model.reconstruction_error(test_digits).mean(), rel=1e-5
    )
    assert run.metrics["psnr"] == pytest.approx(-10 * np.log10(run.metrics["mse"]))
    flat = test_digits.reshape(-1, 64) / 255.0
    pca = PCA(8, svd_solver="full").fit(digits.reshape(-1, 64) / 255.0)
    output = np.clip(pca.inverse_transform(pca.transform(flat)), 0, 1)
    assert run.metrics["pca"]["mse"] == pytest.approx(np.square(flat - output).mean(), rel=1e-4)
    assert run.metrics["pca"]["latent_dim"] == 8


def test_denoising_metrics_have_the_noisy_input_and_the_affine_map_beside(test_digits):
    denoiser = aezoo.denoising_ae((8, 8, 1), 16, level=0.4, seed=0)
    metrics = aezoo.train(denoiser, "digits", 15, verbose=False).metrics
    noisy = denoiser.corrupt(test_digits, seed=0)
    clean = test_digits / 255.0
    assert metrics["noisy"]["mse"] == pytest.approx(np.square(noisy - clean).mean(), rel=0.05)
    assert metrics["mse"] < metrics["pca"]["mse"] < metrics["noisy"]["mse"]
    assert metrics["affine"]["mse"] < metrics["pca"]["mse"]


def test_schedule_rises_and_falls_and_leaves_the_learning_rate_as_it_was():
    trained = model(compiled=True, learning_rate=0.004)
    run = aezoo.train(trained, "digits", 20, warmup=0.25, verbose=False)
    rates = run.history["learning_rate"]
    assert np.argmax(rates) in (4, 5)
    assert max(rates) == pytest.approx(0.004, rel=0.05)
    assert rates[-1] < 1e-5
    assert float(trained.optimizer.learning_rate) == pytest.approx(0.004)
    assert int(trained.optimizer.iterations) == 20 * 12
    before = run.history["loss"][-1]
    assert trained.fit(aezoo.data.load("digits"), verbose=0).history["loss"][0] < 2 * before


def test_a_schedule_of_the_users_own_is_kept():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 100, 0.5)
    run = aezoo.train(model(optimizer=keras.optimizers.Adam(schedule)), "digits", 2, verbose=False)
    assert run.history["learning_rate"][-1] == pytest.approx(0.01 * 0.5**0.24, rel=1e-3)


def test_same_seed_same_weights(tmp_path):
    runs = []
    for _ in range(2):
        denoiser = aezoo.denoising_ae(
            (8, 8, 1), 8, architecture="dense", hidden_units=(32,), seed=3
        )
        runs.append(aezoo.train(denoiser, "digits", 2, seed=3, verbose=False).model)
    assert same(*runs)


def test_a_killed_run_goes_on_from_its_last_finished_epoch(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(RuntimeError):
        aezoo.train(
            model(), "digits", 6, out, seed=0, verbose=False,
            callbacks=(StopAfter(3, RuntimeError()),),
        )  # fmt: skip
    assert (out / "checkpoint-0003.keras").exists()
    assert not (out / "model.keras").exists()
    earlier = (out / "history.csv").read_text().splitlines()
    assert len(earlier) == 4
    with pytest.raises(ValueError, match=r"unfinished run, which resume continues"):
        aezoo.train(model(), "digits", 6, out, verbose=False)
    run = aezoo.train(model(), "digits", 6, out, seed=0, resume=True, verbose=False)
    rows = (out / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ["1", "2", "3", "4", "5", "6"]
    assert run.history["epoch"] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(
        run.history["loss"][:3], [float(r.split(",")[1]) for r in earlier[1:]]
    )
    assert run.history["loss"][3] < run.history["loss"][2]
    assert int(run.model.optimizer.iterations) == 6 * 12
    assert {path.name for path in out.iterdir()} == FILES


def test_a_row_that_a_kill_cut_off_is_dropped(tmp_path):
    out = tmp_path / "run"
    with pytest.raises(RuntimeError):
        aezoo.train(model(), "digits", 4, out, verbose=False,
                    callbacks=(StopAfter(2, RuntimeError()),))  # fmt: skip
    with (out / "history.csv").open("a") as file:
        file.write("3,0.0")
    run = aezoo.train(model(), "digits", 4, out, resume=True, verbose=False)
    assert run.history["epoch"] == [1, 2, 3, 4]


def test_resuming_with_another_net_is_refused(tmp_path):
    with pytest.raises(RuntimeError):
        aezoo.train(model(), "digits", 4, tmp_path, verbose=False,
                    callbacks=(StopAfter(1, RuntimeError()),))  # fmt: skip
    other = aezoo.dense_ae((8, 8, 1), 9)
    with pytest.raises(ValueError, match=r"the one that the run in `out` began with"):
        aezoo.train(other, "digits", 4, tmp_path, resume=True, verbose=False)


def test_interrupting_keeps_what_was_learnt(tmp_path, capsys):
    out = tmp_path / "run"
    run = aezoo.train(model(), "digits", 5, out, verbose=False,
                      callbacks=(StopAfter(2, KeyboardInterrupt()),))  # fmt: skip
    assert run.interrupted
    assert len(run.history["epoch"]) == 2
    assert same(aezoo.load_model(out), run.model)
    assert "keeps what it learnt" in capsys.readouterr().err
    run = aezoo.train(model(), "digits", 5, out, resume=True, verbose=False)
    assert run.history["epoch"] == [1, 2, 3, 4, 5]
    assert {path.name for path in out.iterdir()} == FILES


def test_ctrl_c_waits_until_a_file_is_whole(tmp_path):
    """A signal that comes while the checkpoint is written must not tear or be lost in it."""

    class Signal(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    run = aezoo.train(model(), "digits", 9, tmp_path / "run", verbose=False, callbacks=(Signal(),))
    assert run.interrupted
    assert run.history["epoch"] == [1, 2]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_finished_or_foreign_folder_is_safe(tmp_path, capsys):
    out = tmp_path / "run"
    first = aezoo.train(model(), "digits", 1, out, verbose=False)
    before = (out / "metrics.json").read_bytes()
    with pytest.raises(ValueError, match=r"a finished run"):
        aezoo.train(model(), "digits", 1, out, verbose=False)
    again = aezoo.train(model(), "digits", 1, out, resume=True, verbose=False)
    assert "finished run already" in capsys.readouterr().err
    assert same(again.model, first.model)
    assert again.metrics == first.metrics
    assert (out / "metrics.json").read_bytes() == before
    aezoo.train(model(), "digits", 2, out, overwrite=True, verbose=False)
    assert len((out / "history.csv").read_text().splitlines()) == 3
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    for options in ({}, {"resume": True}):
        with pytest.raises(ValueError, match=r"Received: .*foreign"):
            aezoo.train(model(), "digits", 1, foreign, verbose=False, **options)
    aezoo.train(model(), "digits", 1, foreign, overwrite=True, verbose=False)
    assert (foreign / "thesis.txt").read_text() == "years of work"


def test_out_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run", "/proc/run"):
        with pytest.raises(ValueError, match=r"`out` must be a folder"):
            aezoo.train(model(), "digits", 1, out, verbose=False)


def test_bad_data_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        aezoo.train(model(), np.full((9, 8, 8, 1), 200.0), 1, tmp_path / "run", verbose=False)
    with pytest.raises(ValueError, match=r"shape"):
        aezoo.train(model(), np.zeros((9, 7, 7, 1), "uint8"), 1, tmp_path / "run", verbose=False)
    assert not (tmp_path / "run").exists()


def test_early_stopping_holds_out_data_and_keeps_the_best(digits):
    run = aezoo.train(
        model(compiled=True, learning_rate=0.05),
        digits[:60],
        60,
        early_stopping=2,
        warmup=0,
        verbose=False,
    )
    losses = run.history["val_loss"]
    assert len(losses) < 60
    assert run.metrics["evaluated_on"] == "validation"
    assert run.metrics["samples"] == 6
    held_out = aezoo.data.arrays(digits[:60], "validation", validation_split=0.1)
    best = run.model.reconstruction_error(held_out).mean()
    assert best == pytest.approx(min(losses), rel=1e-3)


def test_data_without_a_test_split_is_measured_on_held_out_data(digits):
    run = aezoo.train(model(), digits[:500], 1, verbose=False)
    assert (run.metrics["evaluated_on"], run.metrics["samples"]) == ("validation", 50)
    dataset = aezoo.data.load(digits[:500])
    run = aezoo.train(model(), dataset, 1, verbose=False)
    assert run.metrics["evaluated_on"] == "train"
    run = aezoo.train(
        model(), dataset, 1, test_data=aezoo.data.load("digits", "test"), verbose=False
    )
    assert (run.metrics["evaluated_on"], run.metrics["samples"]) == ("test", 360)


def test_nan_in_training_is_said_in_plain_words(tmp_path):
    model = aezoo.dense_ae(
        (8, 8, 1),
        8,
        hidden_units=(32,),
        output_activation=None,
        optimizer="sgd",
        learning_rate=1e30,
    )
    message = r"NaN.*epoch 1.*gradient of the step before went first, at step 2; try a lower"
    with pytest.raises(FloatingPointError, match=message):
        aezoo.train(model, "digits", 3, tmp_path / "run", verbose=False)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())  # as before the epoch
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, r"`epochs`"),
        ({"warmup": 2}, r"`warmup`"),
        ({"early_stopping": 0}, r"`early_stopping`"),
        ({"validation_split": -1}, r"`validation_split`"),
        ({"batch_size": 0}, r"`batch_size`"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=f"{message}.*Received"):
        aezoo.train(model(), "digits", verbose=False, **options)
    with pytest.raises(ValueError, match=r"compiled Autoencoder"):
        aezoo.train(model(compile=False), "digits")


def test_pictures_are_drawn_for_images_series_and_vectors(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for i, shape in enumerate([(9, 7, 3), (20, 2), (13,)]):
        x = rng.random((60, *shape)).astype("float32")
        denoiser = aezoo.denoising_ae(shape, 3, architecture="dense", hidden_units=(16,), seed=0)
        denoiser.run_eagerly = True
        run = aezoo.train(denoiser, x, 2, tmp_path / str(i), verbose=False)
        for name in ("reconstructions.png", "history.png"):
            with Image.open(run.folder / name) as picture:
                assert np.asarray(picture.convert("L")).std() > 5


def test_augmentation_moves_input_and_target_alike(digits):
    from aezoo.training.tensorflow_augment import augmented

    dataset = aezoo.data.load(digits[:64], batch_size=32, shuffle=False)
    moved = augmented(dataset, 0.1, seed=0)
    first, second = ([np.asarray(batch) for batch in moved] for _ in range(2))
    assert first[0].shape == (32, 8, 8, 1)
    assert first[0].dtype == "float32"
    assert (first[0] != digits[:32] / np.float32(255)).any()
    assert (first[0] != second[0]).any()  # every epoch has maps of its own
    model = aezoo.conv_ae((8, 8, 1), 8, seed=0)
    run = aezoo.train(model, "digits", 4, augment=0.05, seed=0, verbose=False)
    assert run.history["mse"][-1] < 0.7 * run.history["mse"][0]
    with pytest.raises(ValueError, match=r"takes images.*Received: \(64,\)"):
        aezoo.train(aezoo.dense_ae((64,), 4), digits.reshape(-1, 64), 1, augment=0.1, verbose=False)
    with pytest.raises(ValueError, match="`augment`"):
        aezoo.train(model, "digits", 1, augment=-1.0, verbose=False)


def test_a_loss_that_is_not_finite_keeps_the_learning_rate(digits):
    """The search for what failed first ends with the optimizer as it was, rate and all."""
    vae = aezoo.vae((8, 8, 1), 2, hidden_units=(8,), optimizer="adagrad", learning_rate=0.02)
    vae.encoder.get_layer("sampling").beta = 1e39  # above float32
    with pytest.raises(FloatingPointError, match="loss went first, at step 1"):
        aezoo.train(vae, digits[:64], epochs=2, batch_size=32, verbose=False)
    assert float(vae.optimizer.learning_rate) == pytest.approx(0.02)
    sums = [variable for variable in vae.optimizer.variables if "accumulator" in variable.name]
    assert sums
    assert all((to_numpy(variable) == np.float32(0.1)).all() for variable in sums)


def test_a_dataset_of_unknown_length_is_counted(digits):
    """Without their number the rate would fall to 0 in the first step."""
    data = aezoo.data.load(digits, shuffle=False).filter(lambda x: True)
    found = [
        aezoo.train(model(), part, epochs=2, verbose=False)
        for part in (data, aezoo.data.load(digits, shuffle=False))
    ]
    losses = [run.history["loss"] for run in found]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert found[0].metrics["images_per_second"] > 0
