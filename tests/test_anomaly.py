"""Detectors keep the rate that they promise; impute fills what is missing."""

import csv

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

import aezoo
from aezoo._detect_command import run_detect
from aezoo.anomaly import Detector, conformal_threshold, load_detector
from aezoo.data._sources import validation_rows
from tests.conftest import run_python, small


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


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that held out a fifth of an array in a file."""
    folder = tmp_path_factory.mktemp("detect")
    np.savez(folder / "data.npz", x=aezoo.data.arrays("digits"))
    model = small("pca_ae", latent_dim=8)
    source = str(folder / "data.npz")
    aezoo.train(model, source, out=folder / "run", validation_split=0.2, verbose=False)
    return folder / "run"


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
        scores, shares = detector.score(pool), []
        for _ in range(300):
            order = generator.permutation(len(scores))
            threshold = conformal_threshold(scores[order[:400]], 0.1)
            shares.append((scores[order[400:]] > threshold).mean())
        assert 0.09 < np.mean(shares) < 0.1 + 3 * np.std(shares) / np.sqrt(300)


def test_signs_are_those_of_scikit_learn(model, sevens):
    _, normal, (test, labels) = sevens
    detector = Detector(model).fit(normal, 0.1)
    scores, decisions = detector.score(test), detector.decision_function(test)
    np.testing.assert_allclose(scores, model.reconstruction_error(test), rtol=1e-5)
    np.testing.assert_array_equal(decisions, detector.threshold - scores)
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
    scores = detector.score(test)
    assert roc_auc_score(labels != 7, scores) > (0.75 if score == "mahalanobis" else 0.9)
    folder = detector.save(tmp_path / "detector")
    assert sorted(path.name for path in folder.iterdir()) == [
        "detector.json", "detector.npz", "model.keras",
    ]  # fmt: skip
    loaded = load_detector(folder)
    np.testing.assert_array_equal(loaded.score(test), scores)
    np.testing.assert_array_equal(loaded.predict(test), detector.predict(test))
    assert loaded.threshold == detector.threshold
    np.testing.assert_array_equal(loaded.calibration_scores, detector.calibration_scores)


def test_half_of_normal_estimates_where_there_is_no_reference(model, sevens):
    _, normal, (test, labels) = sevens
    detector = Detector(model, "mahalanobis", seed=1).fit(normal, 0.1)
    assert len(detector.calibration_scores) == len(normal) - len(normal) // 2
    again = Detector(model, "mahalanobis", seed=1).fit(normal, 0.1)
    np.testing.assert_array_equal(detector.score(test), again.score(test))
    other = Detector(model, "mahalanobis", seed=2).fit(normal, 0.1)
    assert (other.score(test) != detector.score(test)).any()
    assert roc_auc_score(labels != 7, detector.score(test)) > 0.7


def test_patches_and_neighbours_find_more_than_pca(sevens):
    training, normal, (test, labels) = sevens
    patches = aezoo.patch_ae((8, 8, 1), 30, 3, 4, seed=0)
    patches.fit(training, verbose=0)
    detector = Detector(patches, "nearest").fit(normal, 0.1, reference=training)
    assert roc_auc_score(labels != 7, detector.score(test)) > 0.99


def test_codes_with_places_are_pooled(sevens):
    training, normal, (test, _) = sevens
    model = small("vq_vae")
    detector = Detector(model, "nearest", pooling="max").fit(normal, 0.1, reference=training)
    assert detector.score(test[:9]).shape == (9,)


def test_datasets_are_streamed(model, sevens):
    _, normal, (test, _) = sevens
    detector = Detector(model, "mahalanobis").fit(aezoo.data.load(normal, shuffle=False), 0.1)
    expected = Detector(model, "mahalanobis").fit(normal, 0.1)
    assert detector.threshold == pytest.approx(expected.threshold, rel=1e-5)
    pairs = aezoo.data.load("digits", "test", labels=True, batch_size=50)
    np.testing.assert_allclose(detector.score(pairs), expected.score(test), rtol=1e-4)
    np.testing.assert_allclose(detector.heat_map(pairs), expected.heat_map(test), atol=1e-6)


def test_what_is_not_finite_is_an_anomaly(model, sevens):
    x = sevens[1][:4] / np.float32(255)
    x[1, 3, 3] = np.nan
    for score in ("reconstruction", "mahalanobis", "nearest"):
        detector = Detector(model, score).fit(sevens[1], 0.1)
        assert np.isinf(detector.score(x)[1])
        assert detector.predict(x)[1] == -1
        assert np.isfinite(detector.score(x)[[0, 2, 3]]).all()


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
    with pytest.raises(ValueError, match="as many samples"):
        aezoo.plots.heat_maps(x, maps[:2])
    series = small("dense_ae", (12, 2))
    steps = Detector(series).heat_map(np.zeros((3, 12, 2), "float32"))
    assert steps.shape == (3, 12)
    aezoo.plots.heat_maps(np.zeros((3, 12, 2)), steps)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "mahalanobi"}, "`score` must be one of.*did you mean 'mahalanobis'"),
        ({"score": "likelihood"}, "`score` must be another than 'likelihood'"),
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


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def detect(run, source, out, normal=None, rate=0.05, score=None, split=None, limit=None):
    run_detect(run, str(source), out, normal, rate, score, split, limit, None)
    return rows_of(out)


def test_the_command_calibrates_on_what_the_run_held_out(run, capsys, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    test = aezoo.data.arrays("digits", "test")[:6]
    for number, image in enumerate([*test, *(255 - test)]):
        Image.fromarray(image[..., 0]).save(images / f"{number:02}.png")
    (images / "broken.png").write_text("no image")
    with pytest.warns(UserWarning, match="broken.png"):
        rows = detect(run, images, tmp_path / "scores.csv")
    assert [row["sample"] for row in rows] == sorted(map(str, images.glob("[0-9]*.png")))
    assert [row["is_anomaly"] for row in rows[6:]] == ["1"] * 6
    assert sum(row["is_anomaly"] == "1" for row in rows[:6]) <= 2
    seen = capsys.readouterr()
    assert "Calibrated on 288 samples: the 20% of" in seen.err
    assert "of 12 samples are anomalies" in seen.out
    x = aezoo.data.arrays("digits")
    held_out = x[validation_rows(len(x), 0.2)[1]]
    detector = load_detector(run / "detector")
    expected = np.sort(aezoo.load_model(run).reconstruction_error(held_out))
    np.testing.assert_allclose(detector.calibration_scores, expected, rtol=1e-4)
    again = detect(run / "detector", images, tmp_path / "again.csv", rate=None, limit=5)
    assert len(again) == 5
    with pytest.raises(ValueError, match="`--score` must be left out"):
        detect(run / "detector", images, tmp_path / "again.csv", rate=None, score="nearest")


def test_the_command_compares_codes_with_the_training_data(run, tmp_path):
    rows = detect(run, "digits", tmp_path / "scores.csv", score="nearest", limit=20)
    assert [row["sample"] for row in rows] == [str(number) for number in range(20)]
    detector = load_detector(run / "detector")
    assert len(detector._score.arrays["codes"]) == 1149
    assert len(detector.calibration_scores) == 288


def test_the_command_refuses_data_that_was_trained_on(tmp_path, capsys):
    x = aezoo.data.arrays("digits")
    np.save(tmp_path / "all.npy", x)
    source = str(tmp_path / "all.npy")
    out = tmp_path / "scores.csv"
    test = aezoo.data.load("digits", "test")
    aezoo.train(small("pca_ae"), source, out=tmp_path / "all", test_data=test, verbose=False)
    with pytest.raises(ValueError, match=r"`--normal` must be given.*--validation-split 0\.2"):
        detect(tmp_path / "all", source, out)
    assert not out.exists()
    np.save(tmp_path / "normal.npy", aezoo.data.arrays("digits", "test"))
    assert len(detect(tmp_path / "all", source, out, normal=str(tmp_path / "normal.npy"))) == 1437
    aezoo.train(small("pca_ae"), "digits", out=tmp_path / "digits", verbose=False)
    detect(tmp_path / "digits", "digits", out)
    assert "360 samples: the test split of digits" in capsys.readouterr().err
    small("pca_ae").save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="`--normal` must be given where no config"):
        detect(tmp_path / "model.keras", source, out)
    with pytest.raises(ValueError, match="`false_positive_rate`"):
        detect(tmp_path / "digits", source, out, rate=0.0)
    with pytest.raises(ValueError, match="at least 9999"):
        detect(tmp_path / "digits", source, out, rate=0.0001)


def test_the_command_line(run, tmp_path):
    out = tmp_path / "scores.csv"
    command = ("-m", "aezoo", "detect", run, "digits", "--out", out, "--rate", 0.1)
    done = run_python(*command, "--limit", 30)
    assert done.returncode == 0, done.stderr
    assert len(rows_of(out)) == 30


@pytest.fixture(scope="module")
def incomplete():
    """Test digits in [0, 1], a third of whose pixels are missing."""
    x = aezoo.data.arrays("digits", "test")
    return x / np.float32(255), np.random.default_rng(0).random(x.shape) < 0.33


def imputation_error(model, x, missing, **options):
    broken = np.where(missing, np.nan, x)
    filled = aezoo.impute(model, broken, missing, **options)
    np.testing.assert_array_equal(filled[~missing], x[~missing])
    return np.square(filled - x)[missing].mean()


def test_a_nonlinear_model_fills_in_better_than_pca_and_the_mean(digits, incomplete):
    x, missing = incomplete
    linear = []
    for components in (8, 12, 16):
        model = small("pca_ae", latent_dim=components)
        model.fit(digits, verbose=0)
        linear += [imputation_error(model, x, missing, iterations=n) for n in (3, 5, 10)]
    model = aezoo.dense_ae((8, 8, 1), 16, (256, 128), activation="relu", seed=0)
    model.fit(aezoo.data.load(digits, batch_size=32, seed=0), epochs=20, verbose=0)
    error = imputation_error(model, x, missing)
    mean = np.square((digits / 255).mean(0) - x)[missing].mean()
    assert error < 0.5 * mean
    assert error < min(linear)


def test_impute_takes_pixels_lists_and_one_mask(digits, incomplete):
    x, missing = incomplete[0][:20], incomplete[1][:20]
    model = small("pca_ae", latent_dim=12)
    model.fit(digits, verbose=0)
    expected = aezoo.impute(model, x, missing, tolerance=0)
    pixels = (x * 255).round().astype("uint8")
    filled = aezoo.impute(model, pixels, missing, tolerance=0)
    np.testing.assert_allclose(filled, expected, atol=1e-5)
    np.testing.assert_allclose(aezoo.impute(model, x.tolist(), missing.tolist()), filled, atol=0.02)
    one = aezoo.impute(model, x, missing[0])
    assert (one[:, missing[0]] != x[:, missing[0]]).any()
    np.testing.assert_array_equal(aezoo.impute(model, x, np.zeros_like(missing)), x)
    nothing = aezoo.impute(model, x * np.nan, np.ones_like(missing))
    assert np.isfinite(nothing).all()
    many = aezoo.impute(model, x, missing, iterations=1000, tolerance=0.1)
    np.testing.assert_allclose(many, aezoo.impute(model, x, missing, tolerance=0.1), atol=0.2)


def test_impute_names_what_is_wrong(model, incomplete):
    x, missing = incomplete[0][:5], incomplete[1][:5]
    for wrong in (missing.astype(int), missing[..., 0], missing[:2]):
        with pytest.raises(ValueError, match=r"`mask` must be a boolean.*Received: "):
            aezoo.impute(model, x, wrong)
    with pytest.raises(ValueError, match="`x` without its missing values must be finite"):
        aezoo.impute(model, np.where(missing, x, np.nan), missing)
    with pytest.raises(ValueError, match="`x` must have the shape"):
        aezoo.impute(model, x[:, :7], missing[:, :7])
    with pytest.raises(ValueError, match="`x` must be an array"):
        aezoo.impute(model, aezoo.data.load("digits"), missing)
    with pytest.raises(ValueError, match="`iterations`"):
        aezoo.impute(model, x, missing, iterations=0)
    with pytest.raises(ValueError, match="`model` must be an Autoencoder"):
        aezoo.impute(model.encoder, x, missing)
