"""The tables of the READMEs, and pictures, made from the results of the benchmarks.

    python -m tools tables     writes them into README.md and benchmarks/README.md

The text between `<!-- name -->` and `<!-- end of name -->` is replaced; names are in `SECTIONS`.
"""

import csv
import pathlib
import re

from aezoo.saving.pretrained import SHIPPED, read_card
from benchmarks import code_size as code_size_task
from benchmarks import denoising as denoising_task
from benchmarks import scaling, scaling_sizes
from benchmarks._results import RESULTS, save
from benchmarks.starting_point.__main__ import PROGRAMS

ROOT = pathlib.Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "benchmarks" / "README.md")


def read(task: str):
    """The rows of a task's results file, and a link to it."""
    (path,) = RESULTS.glob(f"{task}-tensorflow*.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, f"[{path.name}](results/{path.name})"


def table(head, rows, link) -> str:
    lines = [head, ["---"] * len(head), *rows]
    text = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
    return f"{text}\n\n{link}"


def training_speed() -> str:
    """Seconds per epoch: one row per peer, one column per net."""
    rows, link = read("training_speed")
    cases = list(dict.fromkeys((row["net"], row["batch"]) for row in rows))
    seconds = {(row["peer"], row["net"], row["batch"]): row["seconds_per_epoch"] for row in rows}
    body = [
        [peer, *(f"{float(seconds[peer, *case]):.2f}" for case in cases)]
        for peer in dict.fromkeys(row["peer"] for row in rows)
    ]
    return table(["", *(f"{net}, batch {batch}" for net, batch in cases)], body, link)


def time_to_quality() -> str:
    """Seconds to a test error and per epoch: one row per peer."""
    rows, link = read("time_to_quality")
    goal = rows[0]["goal_test_mse"]
    body = []
    for row in rows:
        epoch = float(row["seconds_per_epoch"])
        reached = row["seconds_to_goal"] and f"{float(row['seconds_to_goal']):.1f}"
        tried = f"not in {float(row['epochs']) * epoch:.0f}"
        body.append([row["peer"], reached or tried, f"{epoch:.1f}"])
    return table(["", f"seconds to a test MSE of {goal}", "seconds per epoch"], body, link)


def closed_form() -> str:
    """Seconds and test error: one row per model."""
    rows, link = read("closed_form")
    body = [
        [row["model"], f"{float(row['seconds']):.2f}", row["test_mse"], row["psnr"]] for row in rows
    ]
    return table(["", "seconds", "test MSE", "PSNR, dB"], body, link)


def zoo() -> str:
    """One row per metric of a family."""
    rows, link = read("zoo")
    keys = ("model", "figure", "value", "epochs", "seconds")
    body = [[row[key] for key in keys] for row in rows]
    return table(["model", "figure", "value", "epochs", "seconds"], body, link)


PROBES = ("linear_probe", "pca_linear_probe")


def pretrained() -> str:
    """The shipped weights: one row per tag, each metric next to that of a linear map.

    The map is PCA or, for weights that denoise, the best affine map whose rank is the code size.
    """
    rows, link = read("pretrained")
    body = []
    for row in sorted(rows, key=lambda row: row["name"]):
        beside = "affine_rank" if row.get("affine_rank_mse") else "pca"
        body.append(
            [
                f"`{row['name']}`",
                read_card(SHIPPED / row["name"])["about"],
                f"{float(row['mse']):.5f} / {float(row[f'{beside}_mse']):.5f}",
                f"{float(row['psnr']):.2f} / {float(row[f'{beside}_psnr']):.2f}",
                " / ".join(f"{100 * float(row[key]):.2f}" for key in PROBES),
                f"{row['kilobytes']} kB",
            ]
        )
    head = ["weights", "what they are", "test MSE / linear", "PSNR / linear, dB",
            "linear probe / PCA, %", "file"]  # fmt: skip
    return table(head, body, link)


def transfer() -> str:
    """Accuracy: one row per encoder and method, one column per number of labels."""
    rows, link = read("transfer")
    rows = [row for row in rows if row["task"] in ("few", "all")]
    numbers = sorted({int(row["labels"]) for row in rows})
    cells = {(row["encoder"], row["method"], int(row["labels"])): row for row in rows}
    body = []
    for encoder, method in dict.fromkeys((row["encoder"], row["method"]) for row in rows):
        line = [f"`{encoder}`", method]
        for number in numbers:
            cell = cells.get((encoder, method, number))
            text = cell and f"{100 * float(cell['accuracy']):.2f}"
            if cell and float(cell["spread"] or 0):
                text += f" ± {100 * float(cell['spread']):.2f}"
            line.append(text or "")
        body.append(line)
    return table(["encoder", "method", *(f"{n:,} labels" for n in numbers)], body, link)


def anomaly() -> str:
    """One-class detection: the mean over ten digits, one row per model and score."""
    rows, link = read("anomaly")
    body = [
        [row["model"], row["score"], row["value"], row["seconds"]]
        for row in rows
        if row["task"] == "auroc" and row["case"] == "mean"
    ]
    return table(["model", "score", "mean AUROC", "seconds"], body, link)


def starting_point() -> str:
    """The three programs and the answers: one row per program, on noise and on MNIST."""
    rows, link = read("starting_point")
    goals = [key for key in rows[0] if key.startswith("seconds_to_")]
    rows.sort(key=lambda row: (row["data"] == "mnist", list(PROGRAMS).index(row["program"])))
    body = []
    for row in rows:
        epochs = row["epochs"] if row["epochs"] != "1" else "no loop"
        times = [f"{float(row[goal]):.1f}" if row[goal] else "not reached" for goal in goals]
        line = [row["data"], row["program"], epochs, f"{float(row['seconds_per_epoch']):.3f}"]
        body.append([*line, *times, row["test_mse"], row["lines"]])
    reached = [f"seconds to {goal.removeprefix('seconds_to_')}" for goal in goals]
    head = ["data", "program", "epochs", "seconds per epoch", *reached, "test MSE", "lines"]
    return table(head, body, link)


def code_size() -> str:
    """Test error: one row per model, one column per size of the code, PCA last."""
    rows, link = read("code_size")
    sizes = sorted({int(row["code_size"]) for row in rows})
    cells = {(row["model"], int(row["code_size"])): row["test_mse"] for row in rows}
    names = sorted({row["model"] for row in rows} - {"pca_ae"})
    body = [
        [f"`{name}`" if name != "pca_ae" else "**PCA**, clipped (`pca_ae`)",
         *(cells.get((name, size), "") for size in sizes)]
        for name in [*names, "pca_ae"]
    ]  # fmt: skip
    return table(["model", *map(str, sizes)], body, link)


def denoising() -> str:
    """PSNR: one row per model, one column per kind and level of noise."""
    rows, link = read("denoising")
    noises = list(dict.fromkeys((row["noise"], row["level"]) for row in rows))
    cells = {(row["trained_on"], row["noise"], row["level"]): row["psnr"] for row in rows}
    body = [
        [name, *(cells[name, *noise] for noise in noises)]
        for name in dict.fromkeys(row["trained_on"] for row in rows)
    ]
    names = [" ".join(noise).replace("_", " ") for noise in noises]
    return table(["trained on", *names], body, link)


def import_time() -> str:
    """Start-up times in seconds."""
    rows, link = read("import_time")
    body = [[row["what"], row["seconds"], f"{row['fastest']} to {row['slowest']}"] for row in rows]
    return table(["", "seconds", "range"], body, link)


def peers() -> str:
    """Metrics of other packages: one row per package and model."""
    rows, link = read("peers")
    keys = ("peer", "model", "figure", "value", "seconds")
    return table(list(keys), [[row[key] for key in keys] for row in rows], link)


SUPPORT = ("mirrored", "multi-worker", "jax", "torch", "float16", "bfloat16",
           "saved_model", "onnx", "litert", "int8")  # fmt: skip


def support() -> str:
    """What the tests found: one row per model; reasons are numbered and listed below."""
    rows, link = read("support")
    cells = {(row["model"], row["column"]): row["value"] for row in rows}
    reasons = list(dict.fromkeys(value for value in cells.values() if value != "yes"))
    notes = [f"({number}) {reason}." for number, reason in enumerate(reasons, 1)]
    body = []
    for model in sorted({model for model, _ in cells}):
        found = [cells[model, column] for column in SUPPORT]
        marks = [value if value == "yes" else f"({reasons.index(value) + 1})" for value in found]
        body.append([f"`{model}`", *marks])
    return table(["model", *SUPPORT], body, "\n\n".join([*notes, link]))


SECTIONS = {
    "support": support,
    "starting point": starting_point,
    "code sizes": code_size,
    "denoising": denoising,
    "start-up": import_time,
    "peers": peers,
    "pretrained": pretrained,
    "transfer": transfer,
    "anomaly": anomaly,
    "speed": training_speed,
    "quality": time_to_quality,
    "closed forms": closed_form,
    "families": zoo,
}


def pattern(section: str) -> re.Pattern:
    return re.compile(rf"<!-- {section} -->\n(.*?)\n?<!-- end of {section} -->", re.DOTALL)


def render(section: str, page: pathlib.Path) -> str:
    """The section, with links to the results that are relative to the page."""
    folder = RESULTS.parent.relative_to(page.parent).as_posix()
    prefix = "" if folder == "." else f"{folder}/"
    return SECTIONS[section]().replace("](results/", f"]({prefix}results/")


def training_speed_picture(rows) -> None:
    """Bars of the seconds per epoch, one panel per net."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    cases = list(dict.fromkeys((row["net"], row["batch"]) for row in rows))
    figure, axes = plt.subplots(
        1, len(cases), figsize=(4 * len(cases), 3), sharey=True, layout="constrained"
    )
    for axis, case in zip(axes, cases, strict=True):
        found = [row for row in rows if (row["net"], row["batch"]) == case][::-1]
        names = [row["peer"] for row in found]
        seconds = [float(row["seconds_per_epoch"]) for row in found]
        colors = ["tab:orange" if name.startswith("aezoo") else "tab:gray" for name in names]
        bars = axis.barh(names, seconds, color=colors)
        axis.bar_label(bars, [f"{value:.2f}" for value in seconds], padding=3, fontsize="small")
        axis.set_xlim(0, 1.2 * max(seconds))
        axis.set_title(f"{case[0]}, batch {case[1]}", fontsize="medium")
        axis.set_xlabel("seconds per epoch of 60,000 images")
        axis.spines[["top", "right"]].set_visible(False)
    save(figure, "training_speed.svg")


def main() -> None:
    for page in PAGES:
        text = page.read_text()
        for section in SECTIONS:
            if pattern(section).search(text):
                made = f"<!-- {section} -->\n{render(section, page)}\n<!-- end of {section} -->"
                text = pattern(section).sub(lambda _, made=made: made, text)
        page.write_text(text)
    training_speed_picture(read("training_speed")[0])
    for task in (code_size_task, denoising_task, scaling, scaling_sizes):
        task.picture(read(task.__name__.split(".")[-1])[0])


if __name__ == "__main__":
    main()
