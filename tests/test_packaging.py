"""The wheel: what it requires, what it holds, and that it runs from anywhere."""

import email
import os
import subprocess
import sys
import venv
import zipfile

import pytest
from PIL import Image

from benchmarks.pretrained import embedded
from tests.conftest import ROOT

pytestmark = pytest.mark.slow  # the wheel is built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", out, ROOT]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (path,) = out.glob("*.whl")
    return path


def test_metadata(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        (metadata,) = [name for name in names if name.endswith("METADATA")]
        message = email.message_from_bytes(file.read(metadata))
    required = {text.split(";")[0].strip() for text in message.get_all("Requires-Dist")}
    for package in (
        "tensorflow", "keras<3.16,>=3.12", "numpy", "tensorflow-datasets", "importlib_resources",
        "scikit-learn", "matplotlib", "typer",
    ):  # fmt: skip
        assert any(text.startswith(package) for text in required), package
    assert message["Requires-Python"] == ">=3.11"
    assert message["License-Expression"] == "Apache-2.0" or message["License"] == "Apache-2.0"
    assert set(message.get_all("Provides-Extra")) >= {"test", "gpu"}
    assert "aezoo/py.typed" in names
    for file in ("weights.npz", "card.json", "recipe.toml"):
        assert f"aezoo/pretrained/conv_ae.mnist/{file}" in names
    assert all(name.startswith(("aezoo/", "aezoo-")) for name in names)
    assert any(name.endswith("LICENSE") for name in names)


def test_installs_into_an_empty_environment_and_runs_from_another_directory(wheel, tmp_path):
    """Empty but for the requirements, which are those of this environment."""
    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty" / "bin" / "python"
    (site,) = (tmp_path / "empty" / "lib").glob("python*/site-packages")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "-q", wheel]
    subprocess.run(pip, check=True, capture_output=True, timeout=300)
    own = [path for path in sys.path if path.endswith("site-packages")]
    (site / "requirements.pth").write_text("\n".join(own) + "\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [tmp_path / "empty" / "bin" / "aezoo", "train", "dense_ae", "--epochs", "1"]
    done = subprocess.run(
        command,
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "runs" / "dense_ae" / "model.keras").exists()
    where = [python, "-c", "import aezoo; print(aezoo.__file__)"]
    done = subprocess.run(
        where, cwd=elsewhere, env=environment, capture_output=True, text=True, check=True
    )
    assert str(site) in done.stdout
    three_lines = (
        "import aezoo, numpy as np; from PIL import Image; "
        "model = aezoo.conv_ae(weights='mnist'); "
        "x = np.asarray(Image.open('digit.png'))[None, ..., None]; "
        "print(model.reconstruction_error(x)[0])"
    )
    Image.fromarray(embedded((28, 28, 1))[0, ..., 0]).save(elsewhere / "digit.png")
    done = subprocess.run(
        [python, "-c", three_lines], cwd=elsewhere, env=environment, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert 0 < float(done.stdout) < 0.05
