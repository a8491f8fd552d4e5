"""Data that cannot be right is named, by batch where it comes late, from every kind of source."""

import keras
import numpy as np
import pytest
import scipy.sparse

import aezoo

tf = pytest.importorskip("tensorflow")

GOOD = np.linspace(0, 1, 16 * 64, dtype="float32").reshape(16, 8, 8, 1)


@pytest.fixture(scope="module")
def model():
    """One that none of these data change, as they are refused; eager, as nothing is trained."""
    model = aezoo.dense_ae((8, 8, 1), 4, hidden_units=(8,), seed=0)
    model.run_eagerly = True
    return model


def bad(value):
    batch = GOOD.copy()
    batch[3, 2, 1, 0] = value
    return batch


class Parts(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.parts = batches

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, index):
        return self.parts[index]


def generator(batches):
    yield from batches


def dataset(batches):
    spec = tf.nest.map_structure(
        lambda part: tf.TensorSpec((None, *[None] * (part.ndim - 1)), part.dtype), batches[0]
    )
    return tf.data.Dataset.from_generator(lambda: iter(batches), output_signature=spec)


SOURCES = {"dataset": dataset, "generator": generator, "PyDataset": Parts}
LATE = {
    "NaN": (bad(np.nan), r"Input must be finite\. Received: .*batch 2"),
    "infinity": (bad(np.inf), r"Input must be finite\. Received: .*batch 2"),
    "not scaled": (bad(255), r"Input must lie in \[0, 1\].*Received: .*255 in batch 2"),
    "too large": (bad(1e30), r"Input must be at most 1.8e\+15 in size.*Received: .*batch 2"),
    "another shape": (
        GOOD[:, :7],
        r"Input must have the shape \(samples, 8, 8, 1\)\. Received:.*2",
    ),
    "no samples": (GOOD[:0], r"Input must hold at least one sample\. Received: .*batch 2"),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("what", LATE)
def test_a_late_batch_is_named_by_its_number(model, source, what):
    batch, message = LATE[what]
    with pytest.raises(ValueError, match=message) as error:
        model.fit(SOURCES[source]([GOOD, GOOD, batch, GOOD]), verbose=0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("source", SOURCES)
def test_late_targets_and_weights_are_named_too(model, source):
    ones = np.ones(16, "float32")
    cases = {
        r"Targets must lie in \[0, 1\].*batch 1": (GOOD, bad(-3), ones),
        r"Targets must be finite.*batch 1": (GOOD, bad(np.nan), ones),
        r"Input must be finite.*batch 1": (bad(np.nan), GOOD, ones),
        r"Sample weights must be.*batch 1": (GOOD, GOOD, -ones),
    }
    for message, batch in cases.items():
        with pytest.raises(ValueError, match=message):
            model.fit(SOURCES[source]([(GOOD, GOOD, ones), batch]), verbose=0)


@pytest.mark.parametrize("source", SOURCES)
def test_late_batches_are_named_from_within_compiled_blocks(source):
    model = aezoo.dense_ae((8, 8, 1), 4, hidden_units=(8,), seed=0)
    with pytest.raises(ValueError, match=r"Input must be finite\. Received: .*batch 2"):
        model.fit(SOURCES[source]([GOOD, GOOD, bad(np.nan)]), verbose=0)
    assert model.fused_functions


def test_validation_and_evaluation_are_guarded_as_well(model):
    late = dataset([GOOD, bad(7.0)])
    with pytest.raises(ValueError, match=r"\[0, 1\].*batch 1"):
        model.evaluate(late, verbose=0)
    with pytest.raises(ValueError, match=r"\[0, 1\].*batch 1"):
        model.fit(GOOD, validation_data=late, verbose=0)


def test_closed_forms_are_guarded_as_well():
    model = aezoo.pca_ae((8, 8, 1), 2, output_activation="clip")
    before = model.get_weights()
    for source in SOURCES.values():
        with pytest.raises(ValueError, match=r"\[0, 1\].*batch 1"):
            model.fit(source([GOOD, bad(7.0)]), verbose=0)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_generators_of_plain_arrays_train(model):
    history = model.fit(generator([GOOD, GOOD]), verbose=0).history
    assert 0 < history["mse"][0] < 1
    assert 0 < model.evaluate(generator([GOOD]), verbose=0, return_dict=True)["mse"] < 1


@pytest.mark.parametrize(
    "value", [np.float64(1e300), np.float32(1e30), np.float32(1e16)], ids=["1e300", "1e30", "1e16"]
)
def test_finite_values_whose_squares_are_not_are_refused(value):
    model = aezoo.dense_ae((8,), 2, hidden_units=(), output_activation=None)
    x = np.ones((9, 8), value.dtype)
    x[4, 2] = value
    with pytest.raises(ValueError, match=r"at most 1.8e\+15.*Received: 1.*in sample 4 at position"):
        model.fit(x, verbose=0)


def test_a_loss_that_is_not_finite_stops_fit_and_takes_the_epoch_back():
    options = {"output_activation": None, "optimizer": "sgd", "learning_rate": 1e30}
    model = aezoo.dense_ae((8, 8, 1), 4, hidden_units=(8,), seed=0, **options)
    model.run_eagerly = True
    before = model.get_weights()
    with pytest.raises(FloatingPointError, match=r"NaN or infinite in epoch 1.*Received: loss"):
        model.fit(GOOD, batch_size=4, epochs=3, verbose=0)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_masked_arrays_are_not_learnt_from(model):
    for call in (model.fit, model.evaluate, model.encode, model.reconstruction_error):
        with pytest.raises(ValueError, match=r"masked entries.*Received: a masked array with"):
            call(np.ma.masked_greater(GOOD, 0.5))
        with pytest.raises(ValueError, match=r"masked entries"):
            call(np.ma.masked_invalid(bad(np.nan)))
    assert model.encode(np.ma.masked_greater(GOOD, 2.0)).shape == (16, 4)


@pytest.mark.parametrize("source", ["generator", "PyDataset"])
def test_masked_and_sparse_batches_are_refused(model, source):
    masked = np.ma.masked_invalid(bad(np.nan))
    ones = np.ones(16, "float32")
    few = np.ma.masked_greater(ones, 0.5)
    for batch in ((masked, GOOD, ones), (GOOD, masked, ones), (GOOD, GOOD, few)):
        with pytest.raises(ValueError, match=r"masked entries.*Received: .* in batch 1"):
            model.fit(SOURCES[source]([(GOOD, GOOD, ones), batch]), verbose=0)
    with pytest.raises(ValueError, match="masked entries"):
        model.fit(GOOD, sample_weight=few, verbose=0)
    flat = aezoo.dense_ae((64,), 4, hidden_units=(8,), seed=0)
    x = GOOD.reshape(16, 64)
    with pytest.raises(ValueError, match=r"one array of inputs per batch.*csr_matrix in batch 1"):
        flat.fit(SOURCES[source]([x, scipy.sparse.csr_matrix(x)]), verbose=0)


def test_sparse_matrices_are_taken_everywhere(digits):
    x = (digits.reshape(-1, 64)[:64] / 255).astype("float32")
    model = aezoo.dense_ae((64,), 4, hidden_units=(8,), seed=0)
    model.run_eagerly = True
    for sparse in (scipy.sparse.csr_matrix(x), scipy.sparse.coo_array(x)):
        np.testing.assert_allclose(model.encode(sparse), model.encode(x), rtol=1e-6)
        np.testing.assert_allclose(
            model.evaluate(sparse, verbose=0), model.evaluate(x, verbose=0), rtol=1e-6
        )
        model.fit(sparse, verbose=0)
        np.testing.assert_array_equal(aezoo.data.arrays(sparse), x)
    run = aezoo.train(model, scipy.sparse.csr_matrix(x), epochs=1, verbose=False)
    assert 0 < run.metrics["mse"] < 1


def test_a_dataset_without_end_needs_a_number_of_steps(model):
    endless = tf.data.Dataset.from_tensors(GOOD).repeat()
    calls = (model.fit, model.evaluate, model.encode, model.reconstruct, model.corrupt)
    for call in (*calls, aezoo.pca_ae((8, 8, 1), 2).fit):
        with pytest.raises(ValueError, match=r"must have an end.*Received: a dataset that repeats"):
            call(endless)
    with pytest.raises(ValueError, match="must have an end"):
        model.fit(GOOD, validation_data=endless, verbose=0)
    model.fit(endless, steps_per_epoch=2, validation_data=endless, validation_steps=1, verbose=0)
    assert aezoo.pca_ae((8, 8, 1), 2).fit(endless, steps_per_epoch=2, verbose=0).epoch == [0]


@pytest.mark.parametrize("weight", [np.nan, np.inf, -1.0])
def test_sample_weights_must_be_finite_and_not_negative(model, weight):
    weights = np.ones(16, "float32")
    weights[5] = weight
    with pytest.raises(
        ValueError, match=r"Sample weights must be finite and at least 0\. Received"
    ):
        model.fit(GOOD, sample_weight=weights, verbose=0)
    with pytest.raises(ValueError, match="Sample weights"):
        model.fit(GOOD, validation_data=(GOOD, GOOD, weights), verbose=0)


def test_a_pipeline_that_raises_is_told_in_one_sentence():
    def raising():
        yield GOOD
        yield GOOD
        raise OSError("the disk is gone")

    model = aezoo.dense_ae((8, 8, 1), 4, hidden_units=(8,), seed=0)
    spec = tf.TensorSpec((None, 8, 8, 1))
    pipelines = [raising(), tf.data.Dataset.from_generator(raising, output_signature=spec)]
    for pipeline in pipelines:
        with pytest.raises(
            RuntimeError, match=r"without an error\. Received: OSError: the disk is"
        ):
            model.fit(pipeline, verbose=0)


def test_what_rounding_adds_to_a_range_is_no_mistake(model):
    above = np.nextafter(GOOD, np.float32(2)) + np.float32(2e-7)
    assert above.max() > 1
    model.fit(above, verbose=0)
    model.fit(dataset([above, above]), verbose=0)


def test_weights_without_targets_are_no_targets():
    """(x, None, weights), as Keras's own PyDatasets may give it, is (x, x, weights)."""
    weights = np.linspace(0, 1, 16, dtype="float32")
    losses = []
    for target in (None, GOOD):
        net = aezoo.dense_ae((8, 8, 1), 4, hidden_units=(8,), seed=0)
        history = net.fit(Parts([(GOOD, target, weights)] * 2), epochs=2, verbose=0).history
        losses.append(history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-6)
