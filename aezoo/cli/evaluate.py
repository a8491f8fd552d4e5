"""`aezoo evaluate`: the report card of runs, as a table, a file and a page."""

from __future__ import annotations

import pathlib

from aezoo.training.run_folder import RunFolder


def run_evaluate(runs, data, out, limit, data_dir):
    from rich.console import Console

    from aezoo import evaluate, load_model

    models, histories, sources = {}, {}, set()
    for run in runs:
        model = load_model(run)
        folder = RunFolder(run if run.is_dir() else run.parent)
        # Runs of one factory have models of one name, and are told apart by their folders.
        name = model.name if len(runs) == 1 else _name(run)
        if name in models:
            raise ValueError(f"`runs` must differ in their names. Received: {name} twice")
        models[name] = model
        columns = folder.read_history()
        histories[name] = {key: [row[key] for row in columns] for key in (columns or [{}])[0]}
        if data is None:
            sources.add(folder.data)
    if len(sources) > 1:
        raise ValueError(
            "`--data` must be given for runs that were trained on different data. "
            f"Received: {', '.join(sorted(sources))}"
        )
    target = pathlib.Path(out or (runs[0] if runs[0].is_dir() else runs[0].parent))
    card = evaluate(
        models, data or sources.pop(), limit=limit, data_dir=data_dir, histories=histories
    )
    Console().print(card.table())
    card.save(target)
    print(f"report.json and report.html are in {target}")


def _name(run) -> str:
    """The name of a run's folder, or of a file without its suffix."""
    return run.name if run.is_dir() else run.stem
