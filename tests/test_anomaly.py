"""Detectors keep the rate that they promise, and tell what is normal."""

import keras
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import aezoo
from aezoo.anomaly import Detector, conformal_threshold, load_detector
from tests.conftest import small


@pytest.fixture(scope="module")
def sevens():
    """Sevens to train on, sevens to calibrate on, and the test digits with labels."""
    x, labels = aezoo.data.arrays("digits", labels=True)
    normal = x[labels == 7]
    return normal[:90], normal[90:], aezoo.data.arrays("digits", "test", labels=True)


@pytest.fixture(scope="module")
def model(sevens):
    model = small("pca_ae", latent_dim=8)
    model.fit(sevens[0], verbose=0)
    return model


@pytest.fixture(scope="module")
def variational(sevens):
    model = small("vae", hidden_units=(32,))
    model.fit(sevens[0], epochs=30, verbose=0)
    return model


@pytest.mark.parametrize("rate", [0.1, 0.01, 0.001])
def test_the_rate_is_kept_and_not_by_never_alarming(rate):
    """The mean over calibrations is between rate - 1 / (n + 1) and rate."""
    n, repetitions = 2000, 400
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(repetitions):
        scores = generator.standard_gamma(0.5, n)  # skewed, as errors are
        threshold = conformal_threshold(scores, rate)
        shares.append((generator.standard_gamma(0.5, 4000) > threshold).mean())
    deviation = np.std(shares) / np.sqrt(repetitions)
    assert np.mean(shares) < rate + 3 * deviation
    assert np.mean(shares) > rate - 1 / (n + 1) - 3 * deviation


def test_the_threshold_is_the_order_statistic():
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 100))
    for rate in (0.01, 0.05, 0.29, 0.5, 0.999):
        expected = 100 - round(100 * rate) if rate < 0.99 else 1
        assert conformal_threshold(scores, rate) == expected
    assert conformal_threshold(np.ones(500), 0.01) == 1
    with pytest.raises(ValueError, match=r"at least 999 normal samples\. Received: 99"):
        conformal_threshold(scores, 0.001)
    assert conformal_threshold(np.arange(999), 0.001) == 998
    for rate in (0, 1, -0.1, True, "0.1", float("nan")):
        with pytest.raises(ValueError, match=r"`false_positive_rate` must be.*Received: "):
            conformal_threshold(scores, rate)
    with pytest.raises(ValueError, match="NaN"):
        conformal_threshold([1.0, np.nan], 0.5)


def test_the_rate_is_kept_on_fresh_digits():
    """Calibration and test digits are drawn anew; the model and the reference stay."""
    x = aezoo.data.arrays("digits")
    model = small("pca_ae", latent_dim=8)
    model.fit(x[:500], verbose=0)
    pool, generator = x[500:], np.random.default_rng(0)
    for score in ("reconstruction", "mahalanobis", "nearest"):
        detector = Detector(model, score).fit(pool, 0.1, reference=x[:500])
        scores, shares = detector.anomaly_scores(pool), []
        for _ in range(300):
            order = generator.permutation(len(scores))
            threshold = conformal_threshold(scores[order[:400]], 0.1)
            shares.append((scores[order[400:]] > threshold).mean())
        assert 0.09 < np.mean(shares) < 0.1 + 3 * np.std(shares) / np.sqrt(300)


def test_signs_are_those_of_scikit_learn(model, sevens):
    _, normal, (test, labels) = sevens
    detector = Detector(model).fit(normal, 0.1)
    scores, decisions = detector.anomaly_scores(test), detector.decision_function(test)
    np.testing.assert_allclose(scores, model.reconstruction_error(test), rtol=1e-5)
    np.testing.assert_array_equal(decisions, detector.threshold - scores)
    np.testing.assert_array_equal(detector.score_samples(test), -scores)
    with pytest.warns(FutureWarning, match="anomaly_scores"):
        np.testing.assert_array_equal(detector.score(test), scores)
    np.testing.assert_array_equal(detector.predict(test), np.where(decisions >= 0, 1, -1))
    assert detector.false_positive_rate == 0.1
    assert len(detector.calibration_scores) == len(normal)
    assert (detector.predict(normal) == -1).sum() <= 0.1 * (len(normal) + 1)
    assert (detector.predict(test[labels != 7]) == -1).mean() > 0.8
    assert (detector.predict(test[labels == 7]) == 1).mean() > 0.75


@pytest.mark.parametrize("score", ["reconstruction", "mahalanobis", "nearest", "likelihood"])
def test_each_score_tells_digits_apart_and_is_saved(score, model, variational, sevens, tmp_path):
    training, normal, (test, labels) = sevens
    used = variational if score == "likelihood" else model
    detector = Detector(used, score, neighbors=3).fit(normal, 0.1, reference=training)
    scores = detector.anomaly_scores(test)
    assert roc_auc_score(labels != 7, scores) > (0.75 if score == "mahalanobis" else 0.9)
    folder = detector.save(tmp_path / "detector")
    assert sorted(path.name for path in folder.iterdir()) == [
        "detector.json", "detector.npz", "model.keras",
    ]  # fmt: skip
    loaded = load_detector(folder)
    np.testing.assert_array_equal(loaded.anomaly_scores(test), scores)
    np.testing.assert_array_equal(loaded.predict(test), detector.predict(test))
    assert loaded.threshold == detector.threshold
    np.testing.assert_array_equal(loaded.calibration_scores, detector.calibration_scores)


def test_half_of_normal_estimates_where_there_is_no_reference(model, sevens):
    _, normal, (test, labels) = sevens
    detector = Detector(model, "mahalanobis", seed=1).fit(normal, 0.1)
    assert len(detector.calibration_scores) == len(normal) - len(normal) // 2
    again = Detector(model, "mahalanobis", seed=1).fit(normal, 0.1)
    np.testing.assert_array_equal(detector.anomaly_scores(test), again.anomaly_scores(test))
    other = Detector(model, "mahalanobis", seed=2).fit(normal, 0.1)
    assert (other.anomaly_scores(test) != detector.anomaly_scores(test)).any()
    assert roc_auc_score(labels != 7, detector.anomaly_scores(test)) > 0.7


def test_patches_and_neighbours_find_more_than_pca(sevens):
    training, normal, (test, labels) = sevens
    patches = aezoo.patch_ae((8, 8, 1), filters=30, kernel_size=3, pool=4, seed=0)
    patches.fit(training, verbose=0)
    detector = Detector(patches, "nearest").fit(normal, 0.1, reference=training)
    assert roc_auc_score(labels != 7, detector.anomaly_scores(test)) > 0.99


def test_codes_with_places_are_pooled(sevens):
    training, normal, (test, _) = sevens
    model = small("vq_vae")
    detector = Detector(model, "nearest", pooling="max").fit(normal, 0.1, reference=training)
    assert detector.anomaly_scores(test[:9]).shape == (9,)


def test_datasets_are_streamed(model, sevens):
    _, normal, (test, _) = sevens
    detector = Detector(model, "mahalanobis").fit(aezoo.data.load(normal, shuffle=False), 0.1)
    expected = Detector(model, "mahalanobis").fit(normal, 0.1)
    assert detector.threshold == pytest.approx(expected.threshold, rel=1e-5)
    pairs = aezoo.data.load("digits", "test", labels=True, batch_size=50)
    scores = detector.anomaly_scores(pairs)
    np.testing.assert_allclose(scores, expected.anomaly_scores(test), rtol=1e-4)
    np.testing.assert_allclose(detector.heat_map(pairs), expected.heat_map(test), atol=1e-6)


def test_what_is_not_finite_is_an_anomaly(model, sevens):
    x = sevens[1][:4] / np.float32(255)
    x[1, 3, 3] = np.nan
    for score in ("reconstruction", "mahalanobis", "nearest"):
        detector = Detector(model, score).fit(sevens[1], 0.1)
        assert np.isinf(detector.anomaly_scores(x)[1])
        assert detector.predict(x)[1] == -1
        assert np.isfinite(detector.anomaly_scores(x)[[0, 2, 3]]).all()
    detector.threshold = np.inf  # as many NaN among the samples that calibrate make it
    np.testing.assert_array_equal(detector.predict(x), [1, -1, 1, 1])


def test_heat_maps_show_where(model, sevens):
    x = sevens[1][:5].copy()
    x[:, :2, :2] = 255
    detector = Detector(model)
    maps = detector.heat_map(x)
    assert maps.shape == (5, 8, 8)
    np.testing.assert_allclose(maps.mean((1, 2)), model.reconstruction_error(x), rtol=1e-5)
    assert (maps[:, :2, :2].mean((1, 2)) > 3 * maps.mean((1, 2))).all()
    figure = aezoo.plots.heat_maps(x, maps, "sevens")
    assert len(figure.axes) == 11
    with pytest.raises(ValueError, match="the same number of samples"):
        aezoo.plots.heat_maps(x, maps[:2])
    series = small("dense_ae", (12, 2))
    steps = Detector(series).heat_map(np.zeros((3, 12, 2), "float32"))
    assert steps.shape == (3, 12)
    aezoo.plots.heat_maps(np.zeros((3, 12, 2)), steps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "mahalanobi"}, "`score` must be one of.*did you mean 'mahalanobis'"),
        ({"score": "likelihood"}, "`score` must not be 'likelihood'"),
        ({"neighbors": 0}, "`neighbors`"),
        ({"pooling": "average"}, "`pooling`"),
        ({"batch_size": 0}, "`batch_size`"),
    ],
)
def test_wrong_options_are_named(model, options, message):
    with pytest.raises(ValueError, match=f"{message}.*Received: "):
        Detector(model, **options)


def test_wrong_use_is_named(model, sevens, tmp_path):
    normal = sevens[1]
    for wrong in (keras.Sequential([keras.layers.Dense(2)]), small("vae", num_classes=10)):
        with pytest.raises(ValueError, match="`model` must be an Autoencoder"):
            Detector(wrong)
    with pytest.raises(ValueError, match="variance 'optimal'"):
        Detector(small("vae", likelihood="gaussian"), "likelihood")
    for method in ("score", "predict", "decision_function"):
        with pytest.raises(ValueError, match="`fit` must be called first"):
            getattr(Detector(model), method)(normal)
    with pytest.raises(ValueError, match="`fit` must be called first"):
        Detector(model).save(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(ValueError, match="at least 9999 normal samples"):
        Detector(model).fit(normal, 0.0001)
    with pytest.raises(ValueError, match="shape"):
        Detector(model).fit(normal[:, :7], 0.1)
    with pytest.raises(ValueError, match="`neighbors` must be at most"):
        Detector(model, "nearest").fit(normal, 0.1, reference=normal[:2])


def test_a_broken_folder_is_refused(model, sevens, tmp_path):
    detector = Detector(model).fit(sevens[1], 0.1)
    folder = detector.save(tmp_path / "detector")
    with pytest.raises(ValueError, match="overwrite"):
        detector.save(folder)
    detector.save(folder, overwrite=True)
    with pytest.raises(FileNotFoundError, match=r"detector\.json"):
        load_detector(tmp_path)
    np.savez(folder / "detector.npz", calibration_scores=np.zeros(3))
    with pytest.raises(ValueError, match="sha256"):
        load_detector(folder)
    (folder / "detector.npz").unlink()
    with pytest.raises(ValueError, match="whole detector"):
        load_detector(folder)
    (folder / "detector.json").write_text("{")
    with pytest.raises(ValueError, match="whole detector"):
        load_detector(folder)
