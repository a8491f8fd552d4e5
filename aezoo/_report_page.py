"""The report card as one HTML page that holds its pictures."""

from __future__ import annotations

import base64
import io

import jinja2
from matplotlib.text import Text


def render(card, page: bool = True) -> str:
    """The whole page, or what a notebook shows inside its own."""
    template = environment().get_template("page.html" if page else "card.html")
    return template.render(card=card, pictures=card.pictures(), data_uri=_data_uri)


def environment() -> jinja2.Environment:
    """The templates of the package; what they show is escaped."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("aezoo", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _data_uri(picture, text: str = "black") -> str:
    """The PNG of a picture, which lets the background of the page through; drawn once."""
    if text not in picture.drawn:
        for label in picture.figure.findobj(Text):
            label.set_color(text)
        file = io.BytesIO()
        picture.figure.savefig(file, dpi=200, format="png", transparent=True)
        picture.drawn[text] = base64.b64encode(file.getvalue()).decode()
    return f"data:image/png;base64,{picture.drawn[text]}"
