"""The README's picture, taken from the notebook that draws it: ``python -m analysis.report.overview``.

The notebook only shows the figure, in a cell with the tag ``overview``; so running notebooks, on whatever model, never
changes the committed file. ``make notebooks`` writes it.
"""

import base64
from pathlib import Path

import nbformat

TAG = "overview"


def overview_picture(folder: Path) -> bytes:
    """Return the PNG in the outputs of the tagged cell of a folder's notebooks.

    Raises:
        ValueError: no cell has the tag and a picture, or several do.
    """
    found = [
        output.data["image/png"]
        for path in sorted(folder.glob("*.ipynb"))
        for cell in nbformat.read(path, as_version=4).cells
        if TAG in cell.metadata.get("tags", [])
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    if len(found) != 1:
        raise ValueError(
            f"one cell of {folder}/*.ipynb must have the tag {TAG!r} and show a picture; got {len(found)}."
        )
    return base64.b64decode(found[0])


if __name__ == "__main__":
    Path("notebooks", "overview.png").write_bytes(overview_picture(Path("notebooks")))
