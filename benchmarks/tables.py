"""The README's tables, made of the results that programs wrote.

python -m benchmarks.tables     writes them into README.md
"""

import csv
import pathlib
import re

ROOT = pathlib.Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def training_speed() -> str:
    """Seconds per epoch: a row a peer, a column a net."""
    (path,) = RESULTS.glob("training_speed-*.csv")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    cases = list(dict.fromkeys((row["net"], row["batch"]) for row in rows))
    seconds = {(row["peer"], row["net"], row["batch"]): row["seconds_per_epoch"] for row in rows}
    lines = [
        "| | " + " | ".join(f"{net}, batch {batch}" for net, batch in cases) + " |",
        "|---|" + "---|" * len(cases),
    ]
    for peer in dict.fromkeys(row["peer"] for row in rows):
        figures = [f"{float(seconds[peer, *case]):.2f}" for case in cases]
        lines.append(f"| {peer} | " + " | ".join(figures) + " |")
    return "\n".join([*lines, "", f"[{path.name}](benchmarks/results/{path.name})"])


def main() -> None:
    readme = ROOT / "README.md"
    section = f"<!-- speed -->\n{training_speed()}\n<!-- end of speed -->"
    text = re.sub(
        r"<!-- speed -->.*<!-- end of speed -->",
        lambda _: section,
        readme.read_text(),
        flags=re.DOTALL,
    )
    readme.write_text(text)


if __name__ == "__main__":
    main()
