"""The notebooks run from top to bottom, offline, on the digits, and agree with the package."""

import json
import re

import nbformat
import pytest
from nbclient import NotebookClient

from aezoo._version import REPOSITORY
from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(path, kind):
    content = json.loads(path.read_text())
    return ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == kind]


def test_all_of_them_are_here():
    assert {path.stem for path in NOTEBOOKS} == {
        "quickstart", "denoising", "training_without_loops", "transfer", "variational",
        "anomaly_detection", "your_own_images",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": tmp_path}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs), "a picture"
    assert any(re.search(r"\d\.\d", output.get("text", "")) for output in outputs), "a figure"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_keeps_the_conventions(path):
    texts, code = cells(path, "markdown"), cells(path, "code")
    assert re.match(r"# .+\n\n\[!\[Open In Colab\]", texts[0])
    owner = REPOSITORY.removeprefix("https://github.com/")
    assert f"colab.research.google.com/github/{owner}/blob/main/notebooks/{path.name}" in texts[0]
    assert sum(text.startswith("# ") for text in texts) == 1
    assert "## Next" in texts[-1]
    assert f'%pip install -q "git+{REPOSITORY}"' in code[0]
    assert "GPU" in code[0]
    content = json.loads(path.read_text())
    assert not any(cell.get("outputs") for cell in content["cells"])


def test_one_address():
    for path in (*NOTEBOOKS, ROOT / "README.md", ROOT / "setup.cfg", ROOT / "CONTRIBUTING.md"):
        for address in re.findall(r"github\.com/[\w.-]+/aezoo", path.read_text()):
            assert address == REPOSITORY.removeprefix("https://"), path


def test_the_index_has_all_of_them_with_a_picture():
    index = (ROOT / "notebooks" / "README.md").read_text()
    for path in NOTEBOOKS:
        assert f"[{path.stem}]({path.name})" in index
        assert f"](pictures/{path.stem}.svg)" in index
        assert (ROOT / "notebooks" / "pictures" / f"{path.stem}.svg").is_file()
