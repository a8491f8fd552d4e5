"""Files that earlier releases wrote load, and give what they gave."""

import json
import shutil

import numpy as np
import pytest

import aezoo
from tests.conftest import ROOT

RELEASES = sorted(path for path in (ROOT / "tests" / "golden").iterdir() if path.name[0].isdigit())
MODELS = [pytest.param(path, id=f"{path.parent.name}-{path.stem}")
          for release in RELEASES for path in sorted(release.glob("*.keras"))]  # fmt: skip
ROUNDING = 1e-5  # other processors and libraries add in another order


@pytest.fixture(params=RELEASES, ids=lambda path: path.name)
def release(request):
    return request.param


def folders(release):
    with np.load(release / "folders.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("path", MODELS)
def test_models(path):
    known = folders(path.parent)
    model = aezoo.load_model(path)
    told = {"labels": known["labels"]} if len(model.inputs) > 1 else {}
    with np.load(path.with_suffix(".npz")) as expected:
        if "codes" in expected:
            np.testing.assert_allclose(
                model.encode(known["x"], **told), expected["codes"], rtol=ROUNDING, atol=ROUNDING
            )
        np.testing.assert_allclose(
            model.reconstruct(known["x"], **told), expected["outputs"], rtol=0, atol=ROUNDING
        )
    assert model.compiled
    assert model.recipe["model"] in aezoo.list_models()


def test_run_folders(release, tmp_path):
    shutil.copytree(release / "run", tmp_path / "run")
    known = folders(release)
    model = aezoo.load_model(tmp_path / "run")
    np.testing.assert_allclose(model.reconstruct(known["x"]), known["run"], rtol=0, atol=ROUNDING)
    arguments = json.loads((tmp_path / "run" / "config.json").read_text())["arguments"]
    arguments["input_shape"] = tuple(arguments["input_shape"])
    again = aezoo.train(
        aezoo.dense_ae(**arguments), "digits", epochs=2, out=tmp_path / "run", limit=64,
        resume=True, verbose=False,
    )  # fmt: skip
    assert again.history["epoch"] == [1, 2]
    np.testing.assert_array_equal(again.model.get_weights()[0], model.get_weights()[0])


def test_detectors(release):
    known = folders(release)
    detector = aezoo.anomaly.load_detector(release / "detector")
    scores = detector.anomaly_scores(known["x"])
    np.testing.assert_allclose(scores, known["scores"], rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(detector.predict(known["x"]), known["flagged"])


def test_pretrained_folders(release):
    known = folders(release)
    model = aezoo.conv_ae(weights=release / "pretrained")
    found = model.reconstruct(known["x"])
    np.testing.assert_allclose(found, known["pretrained"], rtol=0, atol=ROUNDING)
