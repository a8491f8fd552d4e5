"""Blocks of steps in one call give what Keras's own loop gives, step by step."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import aezoo
from aezoo.backends import tensorflow_fused_steps as fused_steps
from tests.conftest import is_closed_form

MODELS = [name for name in aezoo.list_models() if not is_closed_form(name)]


class SingleBatches(keras.callbacks.Callback):
    """Looks at the model between batches, so that Keras's own loop runs; counts what it sees."""

    def on_train_begin(self, logs=None):
        self.batches = []

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append(int(self.model.optimizer.iterations))


pytestmark = pytest.mark.filterwarnings("ignore:fit and evaluate take one batch per call")


def make(name="dense_ae", **options):
    if name == "dense_ae":  # one hidden layer, as most of the time is that of tracing
        options = {"hidden_units": (32,), **options}
    return aezoo.create(name, (8, 8, 1), 4, seed=0, **options)


def both(build, fit):
    """Trains twice, by Keras's loop and in blocks, and compares all that comes out."""
    keras_model, fused_model = build(), build()
    single = SingleBatches()
    expected = fit(keras_model, callbacks=[single])
    history = fit(fused_model, callbacks=[])
    assert fused_model.fused_functions, "the blocks were not used"
    assert not keras_model.fused_functions
    assert len(single.batches) > 1
    assert history.epoch == expected.epoch
    assert history.params["steps"] == expected.params["steps"]
    assert set(history.history) == set(expected.history)
    for key, values in expected.history.items():
        np.testing.assert_allclose(history.history[key], values, rtol=2e-4, err_msg=key)
    for one, two in zip(keras_model.get_weights(), fused_model.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-2, atol=2e-4)
    assert fused_model.optimizer.iterations == keras_model.optimizer.iterations
    assert fused_model.steps_per_execution == 1
    return fused_model, history


CASES = {"tail": (250, 50, False), "few": (20, 50, False), "xla": (256, 48, True)}
QUICK = [("dense_ae", "few"), ("vae", "tail")]


def cases():
    for name in MODELS:
        for case, arguments in CASES.items():
            quick = (name, case) in QUICK
            marks = [] if quick else [pytest.mark.slow]
            yield pytest.param(name, *arguments, id=f"{case}-{name}", marks=marks)


@pytest.mark.parametrize(("name", "samples", "validated", "jit_compile"), list(cases()))
def test_every_model_on_arrays(name, samples, validated, jit_compile, digits):
    """Where XLA draws noise there is no smaller last batch, as the graph draws other noise."""

    def fit(model, callbacks):
        return model.fit(
            digits[:samples], batch_size=16, epochs=2, shuffle=False, verbose=0,
            callbacks=callbacks, validation_data=digits[300 : 300 + validated],
        )  # fmt: skip

    both(lambda: make(name, jit_compile=jit_compile), fit)


@pytest.mark.parametrize("drop_remainder", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_any_batched_dataset(digits, drop_remainder):
    """With noise of a net whose state goes on from batch to batch."""
    dataset = tf.data.Dataset.from_tensor_slices(digits[:250]).batch(16, drop_remainder)

    def fit(model, callbacks):
        return model.fit(dataset, epochs=3, verbose=0, callbacks=callbacks, validation_data=dataset)

    both(lambda: make("denoising_ae", architecture="dense", hidden_units=(32,)), fit)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_a_dataset_of_unknown_length_trains_as_one_of_known_length(digits):
    """Keras's own loop makes an optimizer step too many where such a dataset ends."""
    known = tf.data.Dataset.from_tensor_slices(digits[:250]).batch(16)
    unknown = known.filter(lambda x: True)
    assert unknown.cardinality() == tf.data.UNKNOWN_CARDINALITY
    trained = []
    for dataset in (known, unknown):
        model = make()
        history = model.fit(dataset, epochs=3, verbose=0, validation_data=dataset).history
        assert model.fused_functions
        assert model.optimizer.iterations == 3 * 16
        trained.append([*history.values(), *model.get_weights()])
    for one, two in zip(*trained, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["dense_ae", pytest.param("conv_ae", marks=pytest.mark.slow)])
def test_a_smaller_last_batch_behind_a_loop_of_xla(name, digits):
    def fit(model, callbacks):
        return model.fit(
            digits[:250], batch_size=16, epochs=3, shuffle=False, verbose=0, callbacks=callbacks
        )

    both(lambda: make(name, jit_compile=True), fit)


def test_batches_of_many_sizes_keep_their_order(digits):
    sizes = [16, 16, 7, 16, 30, 16, 1]
    parts = np.split(digits[: sum(sizes)], np.cumsum(sizes)[:-1])
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(parts), output_signature=tf.TensorSpec((None, 8, 8, 1), "uint8")
    ).apply(tf.data.experimental.assert_cardinality(len(sizes)))
    both(make, lambda model, callbacks: model.fit(dataset, verbose=0, callbacks=callbacks))


def test_pipelines_of_load_shuffle_as_they_do_alone():
    def fit(model, callbacks):
        dataset = aezoo.data.load("digits", seed=4, batch_size=100)
        return model.fit(dataset, epochs=3, verbose=0, callbacks=callbacks)

    # Keras's loop looks at one more first batch than the blocks do: the orders of the epochs
    # differ, so only the unshuffled one is compared step by step
    def fit_in_order(model, callbacks):
        dataset = aezoo.data.load("digits", shuffle=False, batch_size=100)
        return model.fit(dataset, epochs=3, verbose=0, callbacks=callbacks)

    both(make, fit_in_order)
    histories = [fit(make(), []).history["loss"] for _ in range(2)]
    assert histories[0] == histories[1]


def test_an_endless_dataset_with_steps_per_epoch(digits):
    dataset = tf.data.Dataset.from_tensor_slices(digits[:200]).batch(16).repeat()

    def fit(model, callbacks):
        return model.fit(
            dataset, epochs=2, steps_per_epoch=24, verbose=0, callbacks=callbacks, initial_epoch=1
        )

    both(make, fit)


def test_losses_metrics_regularizers_and_schedules(digits):
    def build():
        regularizer = keras.regularizers.L1(1e-3)
        encoder = keras.Sequential(
            [
                keras.Input((64,)),
                keras.layers.Dense(8, "relu", activity_regularizer=regularizer,
                                   kernel_initializer=keras.initializers.GlorotUniform(1)),
                keras.layers.Dropout(0.2, seed=3),
            ]
        )  # fmt: skip
        decoder = keras.Sequential(
            [
                keras.Input((8,)),
                keras.layers.Dense(64, "sigmoid", kernel_regularizer="l2",
                                   kernel_initializer=keras.initializers.GlorotUniform(2)),
            ]
        )  # fmt: skip
        schedule = keras.optimizers.schedules.CosineDecay(0.01, 40)
        model = aezoo.autoencoder(encoder, decoder)
        model.compile(
            keras.optimizers.AdamW(schedule, clipnorm=0.1),
            "binary_crossentropy",
            metrics=["mae", keras.metrics.MeanSquaredError(name="mse")],
            weighted_metrics=["mse"],
        )
        return model

    x = digits.reshape(-1, 64)[:330]
    weights = np.random.default_rng(0).random(330).astype("float32")

    def fit(model, callbacks):
        return model.fit(
            x, sample_weight=weights, batch_size=20, epochs=3, shuffle=False, verbose=0,
            callbacks=callbacks, validation_split=0.2,
        )  # fmt: skip

    both(build, fit)


def test_pairs_with_sample_weights_in_a_dataset(digits):
    x = digits[:100].astype("float32") / 255
    weights = np.linspace(0, 1, 100).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((x * 0.5, x, weights)).batch(16)
    both(make, lambda model, callbacks: model.fit(dataset, verbose=0, callbacks=callbacks))


def test_early_stopping_and_checkpoints(digits, tmp_path):
    def fit(model, callbacks):
        path = tmp_path / f"{len(callbacks)}.weights.h5"
        return model.fit(
            digits[:256], batch_size=16, epochs=40, shuffle=False, verbose=0,
            validation_data=digits[300:400],
            callbacks=[
                *callbacks,
                keras.callbacks.EarlyStopping(
                    patience=1, min_delta=2e-3, restore_best_weights=True
                ),
                keras.callbacks.ModelCheckpoint(path, save_weights_only=True),
                keras.callbacks.ReduceLROnPlateau(patience=1),
                keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            ],
        )  # fmt: skip

    model, history = both(make, fit)
    assert len(history.epoch) < 40
    assert (tmp_path / "0.weights.h5").exists()
    assert float(model.optimizer.learning_rate) > 0


def test_backup_and_restore_goes_on(digits, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise RuntimeError

    def fit(model, *callbacks):
        backup = keras.callbacks.BackupAndRestore(tmp_path)
        return model.fit(digits[:160], batch_size=16, epochs=4, shuffle=False, verbose=0,
                         callbacks=[backup, *callbacks])  # fmt: skip

    straight = make()
    straight.fit(digits[:160], batch_size=16, epochs=4, shuffle=False, verbose=0)
    with pytest.raises(RuntimeError):
        fit(make(), Stop())
    resumed = make()
    history = fit(resumed)
    assert resumed.fused_functions
    assert history.epoch[-1] == 3
    for one, two in zip(straight.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


class Logs(keras.callbacks.Callback):
    """Keeps the logs of every batch."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.seen, self.stop_at = [], stop_at

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(batch)

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((batch, logs))
        if batch == self.stop_at:
            self.model.stop_training = True

    def on_test_batch_end(self, batch, logs=None):
        self.seen.append(("test", batch, logs))


class LogsOfKeras(Logs):
    """The same from Keras's own loop."""

    def on_epoch_begin(self, epoch, logs=None):
        self.weights = self.model.get_weights()


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_callbacks_that_look_at_batches_are_told_of_each_step_of_a_block(jit_compile, digits):
    seen = []
    for callback in (LogsOfKeras(), Logs()):
        model = make(jit_compile=jit_compile)
        model.fit(digits[:250], batch_size=16, epochs=2, shuffle=False, verbose=0,
                  callbacks=[callback], validation_data=digits[300:350])  # fmt: skip
        assert bool(model.fused_functions) == (type(callback) is Logs)
        seen.append(callback.seen)
    assert len(seen[0]) == 2 * (2 * 16 + 4)
    for expected, told in zip(*seen, strict=True):
        if isinstance(expected, int):
            assert told == expected
            continue
        assert told[:-1] == expected[:-1]
        assert told[-1] == pytest.approx(expected[-1], rel=1e-3)


def test_a_callback_of_batches_stops_within_a_block(digits):
    logs = Logs(stop_at=3)
    model = make()
    history = model.fit(digits[:250], batch_size=16, epochs=5, verbose=0, callbacks=[logs])
    assert model.fused_functions
    assert history.epoch == [0]
    assert [batch for batch in logs.seen if isinstance(batch, int)] == [0, 1, 2, 3]


class HoldsParts(keras.callbacks.Callback):
    def __init__(self, *parts):
        super().__init__()
        self.parts = {"all": [*parts]}

    def on_train_batch_end(self, batch, logs=None):
        pass


class Box:
    def __init__(self, network):
        self.network = network

    def look(self, batch, logs=None):
        pass


@pytest.mark.parametrize(
    "callback",
    [
        keras.callbacks.TerminateOnNaN(),
        keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None),
        HoldsParts(np.ones(3), Box("text")),
    ],
)
def test_callbacks_that_read_logs_alone_keep_the_blocks(callback, digits, recwarn):
    model = make()
    model.fit(digits[:64], verbose=0, callbacks=[callback])
    assert model.fused_functions
    assert not [one for one in recwarn if "one batch per call" in str(one.message)]


class SetsRate(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = 0.01 / (batch + 1)


class KeepsOptimizer(keras.callbacks.Callback):
    def __init__(self, optimizer):
        super().__init__()
        self.kept = optimizer

    def on_train_batch_end(self, batch, logs=None):
        self.kept.learning_rate = 0.1


def sets_rate(callback):
    callback.model.optimizer.learning_rate = 0.1


class CallsAFunction(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        sets_rate(self)


def test_callbacks_that_work_with_the_model_get_single_batches_and_it_is_said_once(
    digits, tmp_path, monkeypatch
):
    monkeypatch.setattr(fused_steps, "_said", set())
    model = make()
    closed_over = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: model.stop_training
    )
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "unused.keras", save_freq=1000)
    hidden = keras.callbacks.LambdaCallback(on_train_batch_end=Box(model.encoder).look)
    callbacks = [
        SetsRate(), KeepsOptimizer(model.optimizer), closed_over, checkpoint, hidden,
        HoldsParts(model.encoder), HoldsParts(Box(model)), CallsAFunction(),
        HoldsParts([float(number) for number in range(2000)], model),
    ]  # fmt: skip
    for callback in callbacks:
        name = type(callback).__name__
        fused_steps._said.clear()
        with pytest.warns(UserWarning, match=f"one batch per call.*the callback {name}"):
            model.fit(digits[:64], verbose=0, callbacks=[callback])
        with warnings.catch_warnings(record=True) as said:
            model.fit(digits[:64], verbose=0, callbacks=[callback])
        assert not [one for one in said if "one batch per call" in str(one.message)]
    assert not model.fused_functions


@pytest.mark.parametrize("steps", [pytest.param(5, marks=pytest.mark.slow), 23])
def test_epochs_of_any_number_of_steps_stay_in_blocks(steps, digits):
    """Keras's loop goes on in the data from epoch to epoch, and so do the blocks."""
    x = digits[:250].astype("float32") / 255
    endless = tf.data.Dataset.from_tensor_slices(x[:240]).batch(16).repeat()
    for data in (endless, endless.take(15)):
        trained = []
        for callbacks in ([SingleBatches()], []):
            model = make()
            model.fit(endless if callbacks else data, steps_per_epoch=steps, epochs=3, verbose=0,
                      callbacks=callbacks)  # fmt: skip
            assert bool(model.fused_functions) != bool(callbacks)
            assert model.optimizer.iterations == 3 * steps
            trained.append(model.get_weights())
        for one, two in zip(*trained, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-5)
    model = make()
    losses = model.fit(x, steps_per_epoch=steps, epochs=3, verbose=0).history["loss"]
    assert model.optimizer.iterations == 3 * steps
    assert losses[-1] < losses[0]


def test_generators_and_py_datasets_stay_in_blocks(digits):
    class Cut(keras.utils.PyDataset):
        def __len__(self):
            return 16

        def __getitem__(self, step):
            return digits[16 * step : 16 * (step + 1)]

    data = {
        "PyDataset": (Cut, {}),
        "generator": (lambda: iter([digits[16 * i : 16 * (i + 1)] for i in range(32)]),
                      {"steps_per_epoch": 16}),
    }  # fmt: skip
    model = make()
    expected = model.fit(digits[:256], batch_size=16, shuffle=False, verbose=0).history["loss"]
    for name, (begin, options) in data.items():
        model = make()
        losses = model.fit(begin(), epochs=2, shuffle=False, verbose=0, **options).history["loss"]
        assert model.fused_functions, name
        np.testing.assert_allclose(losses[:1], expected, rtol=1e-4)


def test_the_choice_of_xla_does_not_depend_on_the_number_of_epochs(digits):
    first = []
    for epochs in (1, 40):
        model = make("vae")
        data = aezoo.data.load(digits[:64], batch_size=16, seed=0)
        first.append(model.fit(data, epochs=epochs, verbose=0).history["loss"][0])
    assert first[0] == first[1]


@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"steps_per_execution": 2}])
def test_explicit_wishes_are_respected(options, digits):
    model = make()
    model.compile("adam", "mse", **options)
    model.fit(digits[:64], verbose=0)
    assert not model.fused_functions
    assert model.steps_per_execution == options.get("steps_per_execution", 1)


def test_under_a_distribution_strategy_it_steps_aside(digits):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    with strategy.scope():
        model = make()
    losses = model.fit(digits[:128], epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    assert not model.fused_functions


def test_the_compiled_function_is_made_once(digits, monkeypatch):
    made = []
    original = fused_steps._make_function
    monkeypatch.setattr(
        fused_steps, "_make_function", lambda *arguments: made.append(1) or original(*arguments)
    )
    model = make()
    for _ in range(3):
        model.fit(digits[:64], verbose=0)
    assert len(made) == 2  # one to train, one to test
    model.compile("sgd", "mse")
    model.fit(digits[:64], verbose=0)
    assert len(made) == 4


def test_jit_choice_survives_saving_and_is_made_for_the_device(tmp_path, digits):
    for choice in ("auto", True, False):
        model = make(jit_compile=choice)
        model.save(tmp_path / "m.keras")
        assert aezoo.load_model(tmp_path / "m.keras").jit_choice == choice
    if not tf.config.list_physical_devices("GPU"):
        auto = aezoo.dense_ae((8, 8, 1))
        assert fused_steps.choose_jit(auto, 10**6)
        assert not fused_steps.choose_jit(auto, 20)
        assert not fused_steps.choose_jit(make("conv_ae"), 10**6)
    assert fused_steps.choose_jit(make("conv_ae", jit_compile=True), 1)
    assert not fused_steps.choose_jit(make(jit_compile=False), 10**6)


def test_evaluate_in_blocks_is_evaluate(digits):
    model = make("denoising_ae", architecture="dense", hidden_units=(32,))
    model.fit(digits[:64], verbose=0)
    pipeline = aezoo.data.load(digits[:333], batch_size=50, shuffle=False)
    for data in (digits[:333], pipeline):  # in one order, as the noise follows the order
        in_blocks = model.evaluate(data, verbose=0)
        batched = model.evaluate(data, verbose=0, callbacks=[OnTestBatch()])
        np.testing.assert_allclose(in_blocks, batched, rtol=1e-6)


class OnTestBatch(keras.callbacks.Callback):
    def on_test_batch_end(self, batch, logs=None):
        self.weights = self.model.weights


def test_float_arrays_of_load_are_checked_wholly_and_gathered(digits):
    x = digits.astype("float32") / 255
    model = make()
    model.fit(aezoo.data.load(x), verbose=0)
    assert model.fused_functions
    x[1400, 3, 3, 0] = np.nan
    with pytest.raises(ValueError, match=r"finite.*sample 1400"):
        model.fit(aezoo.data.load(x), verbose=0)


def test_fewer_validation_steps_than_a_block_are_kept(digits):
    dataset = tf.data.Dataset.from_tensor_slices(digits[:200]).batch(16)

    def fit(callbacks):
        return make().fit(
            dataset, validation_data=dataset, validation_steps=3, verbose=0, callbacks=callbacks
        )

    expected = fit([SingleBatches()]).history["val_loss"]
    np.testing.assert_allclose(fit([]).history["val_loss"], expected, rtol=1e-4)


def test_labels_are_refused_inside_the_loop_too(digits):
    model = make()
    with pytest.raises(ValueError, match=r"drop the labels"):
        model.fit(digits[:64], np.arange(64), verbose=0)
