"""What the README shows is what the program does."""

import re

import pytest
import typer
from typer.testing import CliRunner

import aezoo
from aezoo.cli.app import app
from aezoo.cli.zoo_index import markdown_table, summaries
from benchmarks.__main__ import app as benchmarks
from tests.conftest import ROOT, run_python
from tools.__main__ import app as tools
from tools.tables import PAGES, SECTIONS, SUPPORT, pattern, read, render

README = (ROOT / "README.md").read_text()


def test_the_table_is_the_zoo():
    table = re.search(r"<!-- zoo -->\n(.*)\n<!-- end of zoo -->", README, re.DOTALL)[1]
    assert table == markdown_table(), "`aezoo list --markdown` prints the table"
    assert list(summaries()) == aezoo.list_models()


@pytest.mark.parametrize("section", SECTIONS)
def test_the_figures_are_those_of_the_results_files(section):
    found = [(page, pattern(section).search(page.read_text())) for page in PAGES]
    ((page, written),) = [(page, match[1]) for page, match in found if match]
    assert written == render(section, page), "`python -m tools tables` writes the tables"


def test_the_table_of_support_has_every_model():
    rows, _ = read("support")
    assert {(row["model"], row["column"]) for row in rows} >= {
        (model, column) for model in aezoo.list_models() for column in SUPPORT
    }
    assert "failed" not in {row["value"] for row in rows}


def test_the_examples_run(tmp_path):
    first, *others = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert others
    done = run_python("-c", "\n".join([*others, first]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) > 0.85


def test_every_command_and_option_it_names_exists():
    names = r"train \w+|list|reconstruct|encode|transfer|detect|evaluate|export"
    commands = re.findall(rf"aezoo ({names})([^\n&`]*)", README)
    assert len(commands) > 5
    for command, arguments in commands:
        words = command.replace("MODEL", "dense_ae").split()
        help_text = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).output
        for option in re.findall(r"--[a-z-]+", arguments):
            assert option in help_text, (command, option)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "notebooks" / "README.md"], ids=str)
def test_its_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        assert link.startswith("https://") or (page.parent / link).exists(), link


def test_every_benchmark_and_tool_it_names_is_a_task():
    for module, programs in (("benchmarks", benchmarks), ("tools", tools)):
        command = typer.main.get_command(programs)
        for page in PAGES:
            for name in re.findall(rf"python -m {module} ([a-z][a-z-]+)", page.read_text()):
                assert name in command.commands, name


DERIVED = ("1/12 = .0833", "656/784 of that, .0697")  # of formulas, not of measurements
WRITTEN = [
    *PAGES,
    ROOT / "notebooks" / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_measured_numbers_stand_in_tables_of_results_and_nowhere_else(page):
    prose = page.read_text()
    for block in (
        r"```.*?```",
        r"<!-- (.*?) -->\n.*?<!-- end of \1 -->",
        r"`[^`]*`",
        r"\]\([^)]*\)",
    ):
        prose = re.sub(block, "", prose, flags=re.DOTALL)
    for derived in DERIVED:
        prose = prose.replace(derived, "")
    measured = re.findall(
        r"(?<![\w.])\d*\.\d{3,}|\d+(?:\.\d+)? ?(?:%|per cent|dB|nats|seconds|minutes|times)(?!\w)",
        prose,
    )
    assert not measured, "a measured number belongs into benchmarks/results, from which tables come"


def test_the_cards_of_the_weights_say_what_the_results_file_says():
    from aezoo.saving.pretrained import SHIPPED, read_card

    rows, _ = read("pretrained")
    assert {row["name"] for row in rows} == set(aezoo.list_weights())
    for row in rows:
        figures = read_card(SHIPPED / row["name"])["figures"]
        for key in {"mse", "psnr", "linear_probe"} & set(row):
            assert float(row[key]) == pytest.approx(figures[key], rel=1e-6), (row["name"], key)
