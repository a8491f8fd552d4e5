"""The README's tables and the picture of the speeds, made of the results that programs wrote.

    python -m benchmarks.tables     writes them into README.md

Each section of the README between `<!-- name -->` and `<!-- end of name -->` is one of
`SECTIONS`.
"""

import csv
import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def read(task: str):
    """The rows of a task's results file, and a link to it."""
    (path,) = RESULTS.glob(f"{task}-tensorflow*.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, f"[{path.name}](benchmarks/results/{path.name})"


def table(head, rows, link) -> str:
    lines = [head, ["---"] * len(head), *rows]
    text = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
    return f"{text}\n\n{link}"


def training_speed() -> str:
    """Seconds per epoch: a row a peer, a column a net."""
    rows, link = read("training_speed")
    cases = list(dict.fromkeys((row["net"], row["batch"]) for row in rows))
    seconds = {(row["peer"], row["net"], row["batch"]): row["seconds_per_epoch"] for row in rows}
    body = [
        [peer, *(f"{float(seconds[peer, *case]):.2f}" for case in cases)]
        for peer in dict.fromkeys(row["peer"] for row in rows)
    ]
    return table(["", *(f"{net}, batch {batch}" for net, batch in cases)], body, link)


def time_to_quality() -> str:
    """Seconds to a test error and for an epoch: a row a peer."""
    rows, link = read("time_to_quality")
    goal = rows[0]["goal_test_mse"]
    body = []
    for row in rows:
        epoch = float(row["seconds_per_epoch"])
        reached = row["seconds_to_goal"] and f"{float(row['seconds_to_goal']):.1f}"
        tried = f"not in {float(row['epochs']) * epoch:.0f}"
        body.append([row["peer"], reached or tried, f"{epoch:.1f}"])
    return table(["", f"seconds to a test MSE of {goal}", "seconds an epoch"], body, link)


def closed_form() -> str:
    """Seconds and test error: a row a model."""
    rows, link = read("closed_form")
    body = [
        [row["model"], f"{float(row['seconds']):.2f}", row["test_mse"], row["psnr"]] for row in rows
    ]
    return table(["", "seconds", "test MSE", "PSNR, dB"], body, link)


def zoo() -> str:
    """A row a figure of a family."""
    rows, link = read("zoo")
    keys = ("model", "figure", "value", "epochs", "seconds")
    body = [[row[key] for key in keys] for row in rows]
    return table(["model", "figure", "value", "epochs", "seconds"], body, link)


def pretrained() -> str:
    """The shipped weights: a row a tag, with PCA of the same code size beside each figure."""
    rows, link = read("pretrained")
    body = [
        [
            f"`{row['name']}`",
            row["model"],
            f"{float(row['mse']):.5f} / {float(row['pca_mse']):.5f}",
            f"{float(row['psnr']):.2f} / {float(row['pca_psnr']):.2f}",
            f"{100 * float(row['linear_probe']):.2f} / {100 * float(row['pca_linear_probe']):.2f}",
            f"{row['kilobytes']} kB",
        ]
        for row in sorted(rows, key=lambda row: row["name"])
    ]
    head = ["weights", "what they are", "test MSE / PCA", "PSNR / PCA, dB",
            "linear probe / PCA, %", "file"]  # fmt: skip
    return table(head, body, link)


def transfer() -> str:
    """Accuracy: a row an encoder and method, a column a number of labels."""
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
            if cell and float(cell["spread"]):
                text += f" ± {100 * float(cell['spread']):.2f}"
            line.append(text or "")
        body.append(line)
    return table(["encoder", "method", *(f"{n:,} labels" for n in numbers)], body, link)


def anomaly() -> str:
    """One-class detection: the mean over ten digits, a row a model and score."""
    rows, link = read("anomaly")
    body = [
        [row["model"], row["score"], row["value"], row["seconds"]]
        for row in rows
        if row["task"] == "auroc" and row["case"] == "mean"
    ]
    return table(["model", "score", "mean AUROC", "seconds"], body, link)


SECTIONS = {
    "pretrained": pretrained,
    "transfer": transfer,
    "anomaly": anomaly,
    "speed": training_speed,
    "quality": time_to_quality,
    "closed forms": closed_form,
    "families": zoo,
}


def pattern(section: str) -> re.Pattern:
    return re.compile(rf"<!-- {section} -->\n(.*)\n<!-- end of {section} -->", re.DOTALL)


def picture() -> None:
    """Bars of the seconds per epoch, one panel a net."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    rows, _ = read("training_speed")
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
    figure.savefig(RESULTS / "training_speed.svg", metadata={"Date": None})


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text()
    for section, make in SECTIONS.items():
        filled = f"<!-- {section} -->\n{make()}\n<!-- end of {section} -->"
        text = pattern(section).sub(lambda _, filled=filled: filled, text)
    readme.write_text(text)
    picture()


if __name__ == "__main__":
    main()
