"""One entry point: `python -m tools TASK`; `--help` lists the tasks."""

import importlib

import typer

TASKS = ("notebook_pictures", "readme_picture", "tables")

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)
for task in TASKS:
    module = importlib.import_module(f"tools.{task}")
    app.command(task.replace("_", "-"), help=(module.__doc__ or "").splitlines()[0])(module.main)

if __name__ == "__main__":
    app()
