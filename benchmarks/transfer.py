"""How much trained encoders help a classifier, with few labels and with all labels.

    python -m benchmarks.transfer [--task few|all|cifar] [--quick]

`few`: label curves of the shipped MNIST encoders, and linear probes with all labels, next to PCA of
the same size. Fine-tuning and random weights learn from the images as they are and, in more steps,
from copies that are moved as in the encoder's training. `all`: the best of the encoders, fine-tuned
on all labels, next to the same net from random weights. `cifar`: closed-form patch features of
cifar10_jpeg, next to the same net with its initial random filters. The picture is `transfer.svg`.
"""

from __future__ import annotations

import numpy as np
import typer

from benchmarks._results import save, write

ENCODERS = ("denoising_ae.mnist_features", "conv_ae.mnist", "dense_ae.mnist")
BEST = ENCODERS[0]


def shipped(name):
    import aezoo

    model, tag = name.split(".", 1)
    return aezoo.create(model, weights=tag)


def row(task, encoder, method, labels, accuracy, spread=None):
    found = {"task": task, "encoder": encoder, "method": method, "labels": labels}
    found |= {"accuracy": f"{accuracy:.4f}", "spread": "" if spread is None else f"{spread:.4f}"}
    print(found, flush=True)
    return found


def data(name, quick):
    """(x, labels) of both splits."""
    import aezoo

    name = "digits" if quick else name
    return [aezoo.data.arrays(name, split, labels=True) for split in ("train", "test")]


def moved_by(name) -> float:
    """The level of the affine maps in the training of shipped weights."""
    from aezoo.cli.recipe_files import read_recipe

    recipe = read_recipe(name)
    if recipe["arguments"].get("corruption") == "affine":
        return recipe["arguments"]["level"]
    return recipe["training"].get("augment", 0.0)


def few(quick):
    import aezoo
    from aezoo import transfer

    train, test = data("mnist", quick)
    numbers, seeds, steps = ((5,), 1, 3) if quick else ((1, 10, 100), 5, 300)
    rows = []
    if quick:
        models = {BEST: aezoo.conv_ae(train[0].shape[1:], 16, seed=0)}
    else:
        models = {name: shipped(name) for name in ENCODERS}
    for name, model in models.items():
        curve = transfer.label_curve(model, train, test, numbers, seeds, steps=steps, augment=0.0)
        level = moved_by(name)
        if level:
            moved = transfer.label_curve(
                model, train, test, numbers, seeds, steps=3 if quick else 1000, augment=level
            )
            curve.rows += [
                {**found, "method": f"{found['method']}, moved copies"}
                for found in moved.rows
                if found["method"] in ("fine-tuned", "random weights")
            ]
        for found in curve.rows:
            labels = 10 * found["labels_per_class"]
            if found["method"].startswith("PCA"):
                found["method"] = f"PCA of {model.encoder.output_shape[1]}, linear probe"
            rows.append(row("few", name, found["method"], labels, found["accuracy"],
                            found["spread"]))  # fmt: skip
        if name == BEST:
            save(curve.figure(), "transfer.svg", quick)
        whole = transfer.linear_probe(model, train, test).accuracy
        rows.append(row("few", name, "linear probe", len(train[0]), whole))
        size = model.encoder.output_shape[1]
        pca = aezoo.pca_ae(train[0].shape[1:], size)
        pca.fit(train[0], verbose=0)
        whole = transfer.linear_probe(pca, train, test).accuracy
        rows.append(row("few", name, f"PCA of {size}, linear probe", len(train[0]), whole))
    return rows


def all_labels(quick):
    """Ten epochs on all labels, with cosine decay, from pretrained and from random weights."""
    import keras

    import aezoo
    from aezoo import transfer
    from aezoo.layers.seeds import Seeds
    from aezoo.transfer._heads import copied

    (x, y), (test_x, test_y) = data("mnist", quick)
    model = aezoo.conv_ae(x.shape[1:], 16, seed=0) if quick else shipped(BEST)
    epochs, rows = (1 if quick else 10), []
    for method, encoder in (
        ("fine-tuned", model.encoder),
        ("random weights", copied(model.encoder, Seeds(1))),
    ):
        rate = keras.optimizers.schedules.CosineDecay(0.001, epochs * -(-len(x) // 128))
        keras.utils.set_random_seed(0)
        classifier = transfer.classifier(
            encoder, 10, freeze=False, dropout=0.3, optimizer=keras.optimizers.Adam(rate), seed=0
        )
        classifier.fit(x, y, epochs=epochs, batch_size=128, verbose=0)
        accuracy = (classifier.predict(test_x, 512, verbose=0).argmax(1) == test_y).mean()
        rows.append(row("all", BEST, method, len(x), accuracy))
    return rows


def cifar(quick):
    import aezoo
    from aezoo import transfer
    from aezoo.transfer._label_curve import pca
    from aezoo.transfer._probes import probe

    (x, y), (test_x, test_y) = data("cifar10_jpeg", quick)
    filters, rows = (30 if quick else 800), []
    model = aezoo.patch_ae(x.shape[1:], filters=filters, kernel_size=3 if quick else 6, seed=0)
    name = f"patch_ae, {filters} filters"
    for method in ("random filters, linear probe", "linear probe"):
        if method == "linear probe":
            model.fit(x, verbose=0)
        found = transfer.linear_probe(model, (x, y), (test_x, test_y), max_iterations=300)
        rows.append(row("cifar", name, method, len(x), found.accuracy))
    size = min(model.encoder.output_shape[1], int(np.prod(x.shape[1:])))
    parts = pca(x, test_x, size)
    found = probe(parts[0], y, parts[1], test_y, max_iterations=300)
    rows.append(row("cifar", name, f"PCA of {size}, linear probe", len(x), found.accuracy))
    return rows


TASKS = {"few": few, "all": all_labels, "cifar": cifar}


def main(
    task: str = typer.Option(None, help="One task alone; the others' rows are kept."),
    quick: bool = typer.Option(False, help="Digits and few steps, to see that it runs."),
) -> None:
    for name in [task] if task else TASKS:
        write(TASKS[name](quick), "transfer-quick" if quick else "transfer", key="task")


if __name__ == "__main__":
    typer.run(main)
