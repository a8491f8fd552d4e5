"""The report card: metrics in columns, as a table, as JSON, and as a page with pictures."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import pathlib

import jinja2
from matplotlib.text import Text

from aezoo.inputs.arguments import check_path
from aezoo.saving.files import make_folder, replacing

ROWS = {
    "Reconstruction": {
        "mse": ("MSE", "low"),
        "psnr": ("PSNR, dB", "high"),
        "ssim": ("SSIM", "high"),
        "corrupted_mse": ("MSE, inputs corrupted as in training", None),
        "corrupted_affine_rank_mse": ("best affine map of the code's rank, corrupted inputs", None),
        "corrupted_affine_mse": ("best affine map, corrupted inputs", None),
    },
    "MSE of noisy inputs": {"noise": ("noise {}", "low")},
    "Code": {
        "linear_probe": ("linear probe, accuracy", "high"),
        "knn": ("10 nearest neighbours, accuracy", "high"),
        "kmeans_nmi": ("k-means, NMI", "high"),
        "kmeans_ari": ("k-means, ARI", "high"),
        "one_class_auroc": ("one class against the rest, mean AUROC", "high"),
        "code_size": ("values in the code", None),
        "bits_per_sample": ("bits per sample", None),
    },
    "Cost": {
        "encode_per_second": ("samples encoded per second", "high"),
        "reconstruct_per_second": ("samples reconstructed per second", "high"),
        "parameters": ("parameters", None),
    },
}
JSON, PAGE = "report.json", "report.html"


@dataclasses.dataclass
class Row:
    """One line of the table: the label, one text per column, and which of them are the best."""

    label: str
    cells: list[str]
    best: tuple[int, ...]


@dataclasses.dataclass
class Material:
    """What the pictures of a report card are made from.

    Attributes:
        models: From column to `ReconstructionModel`.
        compared: From a model's column to that of its PCA, or None.
        samples: The `Samples` that were kept.
        reconstructions: From column to `Reconstructions`.
        histories: From a model's column to its history.
    """

    models: dict
    compared: dict
    samples: object
    reconstructions: dict
    histories: dict


class ReportCard:
    """What `aezoo.evaluate` returns: it prints as a table, and a notebook shows it with pictures.

    Attributes:
        about: The data, the number of samples, and versions.
        columns: From the name of a model, or of a PCA, to its metrics.

    Example:

    >>> model = aezoo.pca_ae((8, 8, 1), 4, seed=0)
    >>> history = model.fit(aezoo.data.load("digits"), verbose=0)
    >>> card = aezoo.evaluate(model, "digits", verbose=False)
    >>> [name for name in card.columns], card["PCA 4"]["code_size"]
    (['pca_ae', 'PCA 4'], 4)
    """

    def __init__(self, about: dict, columns: dict[str, dict], material: Material):
        self.about, self.columns, self.material = about, columns, material
        self._pictures = None

    def __getitem__(self, name: str) -> dict:
        return self.columns[name]

    def rows(self) -> dict[str, list[Row]]:
        """The lines of the table by heading."""
        found = {}
        for heading, keys in ROWS.items():
            lines = []
            for key, (label, better) in keys.items():
                values = [figures.get(key) for figures in self.columns.values()]
                if key == "one_class_auroc":
                    values = [value and value["mean"] for value in values]
                if key == "noise":
                    # A unit of 1 is that of data in [0, 1], and needs no word.
                    deviations = "" if self.about["noise_unit"] == 1 else " standard deviations"
                    levels = dict.fromkeys(level for value in values for level in value)
                    lines += [
                        _row(
                            label.format(level) + deviations,
                            [value[level] for value in values],
                            better,
                        )
                        for level in levels
                    ]
                elif any(value is not None for value in values):
                    lines.append(_row(label, values, better))
            if lines:
                found[heading] = lines
        return found

    def table(self):
        """The table as a `rich.table.Table`."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=escape(self.title), caption=self.caption, title_justify="left")
        table.add_column("")
        for name in self.columns:
            table.add_column(escape(name), justify="right")  # [brackets] would be markup
        for heading, lines in self.rows().items():
            table.add_row(f"[italic]{heading}[/italic]")
            for row in lines:
                cells = [
                    f"[bold]{cell}[/bold]" if number in row.best else cell
                    for number, cell in enumerate(row.cells)
                ]
                table.add_row(f"  {row.label}", *cells)
            table.add_section()
        return table

    @property
    def title(self) -> str:
        """Which models on which data."""
        return f"{', '.join(self.material.compared)} on {self.about['data']}"

    @property
    def caption(self) -> str:
        """How many samples were measured, and how many PCA and probes were fitted to."""
        shape = "x".join(map(str, self.about["input_shape"]))
        text = f"{self.about['samples']:,} samples of {shape} measured"
        if self.about["fitted_samples"]:
            text += f", PCA and probes fitted to {self.about['fitted_samples']:,} others"
        if self.about["without_code"]:
            names = ", ".join(self.about["without_code"])
            text += f"; no PCA and no probes for models without a code: {names}"
        return text

    def pictures(self) -> dict:
        """The pictures by heading; they are plotted once."""
        if self._pictures is None:
            # Here, as a card that is only printed or saved as JSON needs no pictures.
            from aezoo.evaluation.report_pictures import draw_all

            self._pictures = draw_all(self)
        return self._pictures

    def to_json(self) -> str:
        """All metrics as JSON."""
        return json.dumps({**self.about, "columns": self.columns}, indent=2) + "\n"

    def to_html(self) -> str:
        """A page that contains everything it shows, and needs neither network nor JavaScript."""

        return render(self)

    def save(self, folder: str | pathlib.Path) -> pathlib.Path:
        """Writes report.json and report.html.

        Args:
            folder: Where they are written; it is created where there is none.

        Returns:
            The path of the page.
        """
        folder = check_path("folder", folder)
        # All of it is made before the folder is: an error leaves no half of a report.
        texts = {JSON: self.to_json(), PAGE: self.to_html()}
        make_folder(folder)
        for name, text in texts.items():
            with replacing(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return folder / PAGE

    def __rich__(self):
        return self.table()

    def __str__(self) -> str:
        from rich.console import Console

        # Wide enough for every column; a width of the terminal would break lines elsewhere.
        console = Console(file=io.StringIO(), width=60 + 20 * len(self.columns), color_system=None)
        console.print(self.table())
        return console.file.getvalue().rstrip()

    __repr__ = __str__

    def _repr_html_(self) -> str:

        return render(self, page=False)


def _row(label, values, better) -> Row:
    cells = ["-" if value is None else as_text(value) for value in values]
    known = [value for value in values if value is not None]
    best = ()
    # Compared as they are shown: cells that read the same are equally good, and where all do there
    # is no best one.
    if better and len(set(cells)) > 1 and len(known) > 1:
        chosen = as_text(min(known) if better == "low" else max(known))
        best = tuple(number for number, cell in enumerate(cells) if cell == chosen)
    return Row(label, cells, best)


def as_text(value) -> str:
    """A metric with four digits, a count in full."""
    if isinstance(value, int) or value >= 1000:
        return f"{value:,.0f}"
    # `#` keeps the zeros at the end, so that the cells of a row have the same number of digits.
    return f"{value:.4f}" if 0.1 <= value <= 1 else f"{value:#.4g}"


def render(card, page: bool = True) -> str:
    """The whole page, or the part that a notebook shows inside its own."""
    template = environment().get_template("page.html" if page else "card.html")
    return template.render(card=card, pictures=card.pictures(), data_uri=_data_uri)


def environment() -> jinja2.Environment:
    """The templates of the package."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("aezoo", "templates"),
        # Names of models and of data are the user's, and must not become HTML.
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _data_uri(picture, text: str = "black") -> str:
    """The PNG of a picture on a transparent background, made once for each colour of text."""
    if text not in picture.drawn:
        # The page shows pictures of images in a second colour of text where it is dark; charts are
        # inverted there by the style sheet.
        for label in picture.figure.findobj(Text):
            label.set_color(text)
        file = io.BytesIO()
        picture.figure.savefig(file, dpi=200, format="png", transparent=True)
        picture.drawn[text] = base64.b64encode(file.getvalue()).decode()
    return f"data:image/png;base64,{picture.drawn[text]}"
