"""What a notebook says of itself: its question and finding, from its metadata, and its main figure.

``python -m analysis.report.notebook_cards`` prints the README's table of notebooks. The metadata is
``{"v2drop": {"question": ..., "finding": ...}}`` (in JupyterLab: the property inspector, advanced tools); the main
figure is that of the cell with the tag ``main-figure``, or the first one.
"""

import base64
import io
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode
from PIL import Image

TAG = "main-figure"
WIDTH = 860  # pixels of a thumbnail: twice what a card shows


class Card(NamedTuple):
    """What a notebook asks and found, as plain text; empty if it does not say."""

    question: str
    finding: str


class Figure(NamedTuple):
    """A PNG, and what is drawn."""

    data: bytes
    alt: str


def card(notebook: NotebookNode) -> Card:
    """Return the question and the finding in a notebook's metadata."""
    said = notebook.metadata.get("v2drop", {})
    return Card(said.get("question", ""), said.get("finding", ""))


def main_figure(notebook: NotebookNode) -> Figure | None:
    """Return the figure that stands for a notebook that was run, if it has any."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in sorted(cells, key=lambda cell: TAG not in cell.metadata.get("tags", [])):  # stable: the others in order
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                alt = output.metadata.get("image/png", {}).get("alt", "")
                return Figure(base64.b64decode(output.data["image/png"]), alt)
    return None


def thumbnail(figure: Figure) -> bytes:
    """Return a figure as a PNG of at most `WIDTH` pixels and 256 colours."""
    picture = Image.open(io.BytesIO(figure.data)).convert("RGB")
    picture.thumbnail((WIDTH, 2 * WIDTH), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(data, format="PNG", optimize=True)
    return data.getvalue()


def notebooks_table(folder: Path) -> str:
    """Return the README's table of the notebooks in a folder, as Markdown."""
    head = ["| what do you want to know? | notebook | answer, on the embedded model (07: on SmolLM2) |"]
    rows = ["|---|---|---|"]
    for path in sorted(folder.glob("*.ipynb")):
        question, finding = card(nbformat.read(path, as_version=4))
        cells = (question, f"[{path.stem}]({folder.name}/{path.name})", finding)
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(head + rows)


if __name__ == "__main__":
    print(notebooks_table(Path("notebooks")))
