"""What the README shows is what the program does."""

import re

import pytest
from typer.testing import CliRunner

from aezoo._registry import markdown_table
from aezoo.cli import app
from benchmarks.tables import SECTIONS, pattern
from tests.conftest import ROOT, run_python

README = (ROOT / "README.md").read_text()


def test_the_table_is_the_zoo():
    table = re.search(r"<!-- zoo -->\n(.*)\n<!-- end of zoo -->", README, re.DOTALL)[1]
    assert table == markdown_table(), "`aezoo list --markdown` prints the table"


@pytest.mark.parametrize("section", SECTIONS)
def test_the_figures_are_those_of_the_results_files(section):
    written = pattern(section).search(README)[1]
    assert written == SECTIONS[section](), "`python -m benchmarks.tables` writes the tables"


def test_the_examples_run(tmp_path):
    first, *others = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert others
    done = run_python("-c", "\n".join([*others, first]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) > 0.85


def test_every_command_and_option_it_names_exists():
    commands = re.findall(
        r"aezoo (train \w+|list|reconstruct|encode|transfer|detect|evaluate)([^\n&`]*)", README
    )
    assert len(commands) > 5
    for command, arguments in commands:
        words = command.replace("MODEL", "dense_ae").split()
        help_text = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).output
        for option in re.findall(r"--[a-z-]+", arguments):
            assert option in help_text, (command, option)


def test_its_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link
