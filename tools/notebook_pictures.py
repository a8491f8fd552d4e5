"""The pictures of the notebooks' index: each notebook is run, and its last picture is kept.

python -m tools notebook-pictures
"""

import pathlib
import tempfile

from aezoo.saving.files import replacing

NOTEBOOKS = pathlib.Path(__file__).parent.parent / "notebooks"


def last_picture(path: pathlib.Path) -> str:
    """The last picture of a notebook, as SVG."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    vector = nbformat.v4.new_code_cell("%config InlineBackend.figure_formats = ['svg']")
    notebook.cells.insert(0, vector)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pictures = [output.get("data", {}).get("image/svg+xml") for output in outputs]
    return [picture for picture in pictures if picture][-1]


def main() -> None:
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        with replacing(NOTEBOOKS / "pictures" / f"{path.stem}.svg") as temporary:
            temporary.parent.mkdir(exist_ok=True)
            temporary.write_text(last_picture(path))
        print(path.stem, flush=True)


if __name__ == "__main__":
    main()
