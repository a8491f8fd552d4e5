"""What each model supports, found out by the tests themselves.

A test of one model, parametrised by its `name`, says with `@pytest.mark.support("litert")` what
it shows; without a column, it shows the Keras backend that it runs on. Only trainings of 200
steps do, in test_two_hundred_steps.py. `pytest --support` then
writes a cell for each model and column into the results from which the README's table is made:
"yes" where all of these tests passed, else the reason that they gave to `pytest.skip`.
"""

import keras
import pytest

from benchmarks._results import write

_outcomes: dict[tuple[str, str], list[str]] = {}


def pytest_addoption(parser):
    parser.addoption(
        "--support", action="store_true", help="write what each model supports as results"
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "support(column): what this test shows of its model")


def pytest_collection_modifyitems(items):
    for item in items:
        mark = item.get_closest_marker("support")
        if mark:
            column = mark.args[0] if mark.args else keras.backend.backend()
            item.user_properties.append(("support", (item.callspec.params["name"], column)))


@pytest.hookimpl
def pytest_runtest_logreport(report):
    cell = dict(report.user_properties).get("support")
    if cell is None or (report.when != "call" and report.passed):
        return
    if report.passed:
        outcome = "yes"
    elif report.skipped:
        outcome = report.longrepr[2].removeprefix("Skipped: ")
    else:
        outcome = "failed"
    _outcomes.setdefault(tuple(cell), []).append(outcome)


def pytest_sessionfinish(session):
    if not session.config.getoption("--support") or hasattr(session.config, "workerinput"):
        return
    found = {cell: min(outcomes, key="yes".__eq__) for cell, outcomes in _outcomes.items()}
    rows = [
        {"model": model, "column": column, "value": value}
        for (model, column), value in sorted(found.items())
    ]
    if rows:
        write(rows, "support", key=("model", "column"))
