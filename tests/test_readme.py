"""What the README shows is what the program does."""

import re

from typer.testing import CliRunner

from aezoo._registry import markdown_table
from aezoo.cli import app
from benchmarks.tables import training_speed
from tests.conftest import ROOT, run_python

README = (ROOT / "README.md").read_text()


def test_the_table_is_the_zoo():
    table = re.search(r"<!-- zoo -->\n(.*)\n<!-- end of zoo -->", README, re.DOTALL)[1]
    assert table == markdown_table(), "`aezoo list --markdown` prints the table"


def test_the_speeds_are_those_of_the_results_file():
    table = re.search(r"<!-- speed -->\n(.*)\n<!-- end of speed -->", README, re.DOTALL)[1]
    assert table == training_speed(), "`python -m benchmarks.tables` writes the table"


def test_the_example_runs(tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = run_python("-c", example, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) > 0.85


def test_every_command_and_option_it_names_exists():
    commands = re.findall(r"aezoo (train \w+|list|reconstruct|encode)([^\n&`]*)", README)
    assert len(commands) > 5
    for command, arguments in commands:
        words = command.replace("MODEL", "dense_ae").split()
        help_text = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"}).output
        for option in re.findall(r"--[a-z-]+", arguments):
            assert option in help_text, (command, option)


def test_its_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        assert link.startswith("https://") or (ROOT / link).exists(), link
