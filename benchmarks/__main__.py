"""One entry point: `python -m benchmarks TASK [--quick]`; `--help` lists the tasks."""

import importlib
import time

import typer

TASKS = (
    "anomaly",
    "closed_form",
    "code_size",
    "defaults",
    "denoising",
    "fused_choices",
    "import_time",
    "peers.__main__",
    "pretrained",
    "scaling",
    "scaling_sizes",
    "starting_point.__main__",
    "time_to_quality",
    "training_speed",
    "transfer",
    "unet",
    "zoo",
)

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)
for task in TASKS:
    module = importlib.import_module(f"benchmarks.{task}")
    name = task.split(".")[0].replace("_", "-")
    app.command(name, help=(module.__doc__ or "").splitlines()[0])(module.main)


@app.command()
def quick() -> None:
    """Runs the quick mode of every task that has one, in one process, and prints the times."""
    command, taken = typer.main.get_command(app), {}
    for name, task in command.commands.items():
        if any("--quick" in option.opts for option in task.params):
            start = time.perf_counter()
            command.main([name, "--quick"], standalone_mode=False)
            taken[name] = time.perf_counter() - start
    print(*(f"{seconds:6.1f} s  {name}" for name, seconds in taken.items()), sep="\n")
    print(f"{sum(taken.values()):6.1f} s")


if __name__ == "__main__":
    app()
