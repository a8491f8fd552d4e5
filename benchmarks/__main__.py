"""One entry point: `python -m benchmarks TASK [--quick]`; `--help` lists the tasks."""

import importlib

import typer

TASKS = (
    "anomaly",
    "closed_form",
    "defaults",
    "fused_choices",
    "pretrained",
    "readme_picture",
    "scaling",
    "starting_point.__main__",
    "tables",
    "time_to_quality",
    "training_speed",
    "transfer",
    "zoo",
)

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)
for task in TASKS:
    module = importlib.import_module(f"benchmarks.{task}")
    name = task.split(".")[0].replace("_", "-")
    app.command(name, help=(module.__doc__ or "").splitlines()[0])(module.main)

if __name__ == "__main__":
    app()
