"""Every task of the benchmarks runs in its quick mode, so that none rots."""

import pytest

from benchmarks.__main__ import TASKS
from tests.conftest import ROOT, run_python
from tools.__main__ import TASKS as TOOLS

OTHERS = ("pretrained",)  # it has no quick mode
QUICK = [task.split(".")[0].replace("_", "-") for task in TASKS if task not in OTHERS]


@pytest.mark.slow
@pytest.mark.parametrize("task", QUICK)
def test_quick_mode(task, tmp_path):
    before = set((ROOT / "benchmarks" / "results").iterdir())
    done = run_python("-m", "benchmarks", task, "--quick", cwd=ROOT, timeout=400)
    new = set((ROOT / "benchmarks" / "results").iterdir()) - before
    for path in new:
        assert "quick" in path.name
        path.unlink()
    assert done.returncode == 0, done.stderr[-2000:]


def test_one_entry_point_knows_every_program():
    files = {path.stem for path in (ROOT / "benchmarks").glob("[!_]*.py")}
    packages = {path.name for path in (ROOT / "benchmarks").iterdir() if list(path.glob("*.py"))}
    assert {task.split(".")[0] for task in TASKS} == files | packages


def test_the_tools_have_one_entry_point():
    files = {path.stem for path in (ROOT / "tools").glob("[!_]*.py")}
    assert set(TOOLS) == files
