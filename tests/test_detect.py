"""`aezoo detect`: what it calibrates on, what it writes, and what it refuses."""

import csv

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import aezoo
from aezoo.anomaly import load_detector
from aezoo.cli.app import app
from aezoo.cli.detect import run_detect
from aezoo.data._source import validation_rows
from tests.conftest import small


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that held out a fifth of an array in a file."""
    folder = tmp_path_factory.mktemp("detect")
    np.savez(folder / "data.npz", x=aezoo.data.arrays("digits"))
    model = small("pca_ae", latent_dim=8)
    source = str(folder / "data.npz")
    aezoo.train(model, source, out=folder / "run", validation_split=0.2, verbose=False)
    return folder / "run"


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
    command = ["detect", str(run), "digits", "--out", str(out), "--rate", "0.1", "--limit", "30"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert len(rows_of(out)) == 30
    assert load_detector(run / "detector").false_positive_rate == 0.1
    for wrong, message in ((command, "--overwrite"), ([*command[:4], "scores.txt"], "in .csv")):
        with pytest.raises(ValueError, match=message):
            CliRunner().invoke(app, wrong, catch_exceptions=False)
