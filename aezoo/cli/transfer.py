"""`aezoo transfer`: probes and label curves of a run, as a table, a file and a picture."""

from __future__ import annotations

import json
import pathlib
import sys

from aezoo.cli.options import integers
from aezoo.saving.files import make_folder, replacing
from aezoo.training.run_folder import RunFolder


def run_transfer(run, data, labels_per_class, seeds, steps, pooling, limit, data_dir, out):
    from aezoo import load_model, transfer
    from aezoo.data import arrays
    from aezoo.saving.load import image_size
    from aezoo.transfer._features import features
    from aezoo.transfer._label_curve import pca
    from aezoo.transfer._probes import neighbour_probe, probe

    numbers = integers("labels_per_class", labels_per_class)
    model = load_model(run)
    folder = run if run.is_dir() else run.parent
    record = RunFolder(folder)
    data = data or record.data
    # How much the run moved its training images; None lets `label_curve` look at the corruption.
    augment = record.read_config()["training"].get("augment") or None if record.exists else None
    options = {"labels": True, "image_size": image_size(model), "data_dir": data_dir}
    train = arrays(data, "train", limit=limit, **options)
    test = arrays(data, "test", **options)
    curve = transfer.label_curve(
        model, train, test, numbers, seeds, steps=steps, pooling=pooling,
        augment=augment, progress=lambda text: print(text, file=sys.stderr),
    )  # fmt: skip
    print("all labels", file=sys.stderr)
    # Beside the curve with few labels, the frozen codes with all of them.
    codes = {model.name: [features(model, part[0], pooling=pooling) for part in (train, test)]}
    width = codes[model.name][0].shape[1]
    codes[f"PCA, {width} components"] = pca(train[0], test[0], width)
    figures = {}
    for name, (x, test_x) in codes.items():
        figures[name] = {
            "linear probe": probe(x, train[1], test_x, test[1]).accuracy,
            "nearest neighbours": neighbour_probe(x, train[1], test_x, test[1]).accuracy,
        }
    _print(figures, curve, len(train[1]), len(test[1]))
    target = pathlib.Path(out or folder)
    make_folder(target)
    results = {"data": data, "train_samples": len(train[1]), "test_samples": len(test[1]),
               "all_labels": figures, "label_curve": curve.rows}  # fmt: skip
    with replacing(target / "transfer.json") as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")
    with replacing(target / "label_curve.png") as temporary:
        curve.figure().savefig(temporary, dpi=100, format="png")
    print(f"transfer.json and label_curve.png are in {target}")


def _print(figures, curve, samples, tested):
    from rich.console import Console
    from rich.table import Table

    table = Table("", *next(iter(figures.values())), title=f"{samples} labels, {tested} tested")
    for name, row in figures.items():
        table.add_row(name, *(f"{value:.4f}" for value in row.values()))
    console = Console()
    console.print(table)
    numbers = sorted({row["labels_per_class"] for row in curve.rows})
    table = Table("accuracy", *(f"{number} per class" for number in numbers))
    for method in dict.fromkeys(row["method"] for row in curve.rows):
        cells = [row for row in curve.rows if row["method"] == method]
        spreads = ["" if row["spread"] is None else f" ± {row['spread']:.4f}" for row in cells]
        texts = [f"{row['accuracy']:.4f}{s}" for row, s in zip(cells, spreads, strict=True)]
        table.add_row(method, *texts)
    console.print(table)
