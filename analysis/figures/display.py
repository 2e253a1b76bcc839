"""Pictures in notebooks: sharp on any screen, no wider than a page, and described for those who cannot see them."""

from __future__ import annotations

import base64
import io

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

PAGE_WIDTH = 8.6  # inches: what a report page and JupyterLab show without scaling down
PIXELS_PER_INCH = 100  # of the page; the picture itself has twice as many, for screens that have them


def legend_below(figure: Figure, ncols: int = 3) -> None:
    """Put one legend for all panels under them, each entry once; legends of single panels go."""
    entries: dict[str, object] = {}
    for ax in figure.axes:
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(name, handle)
        if ax.get_legend() is not None:
            ax.get_legend().remove()
    places = {"loc": "outside lower center", "ncols": ncols, "frameon": False, "fontsize": 9}
    figure.legend(entries.values(), entries.keys(), handlelength=3, **places)


def picture(figure: Figure) -> bytes:
    """Return a figure as PNG, with twice the pixels of the page, in 256 colours: a quarter of the bytes."""
    raw, data = io.BytesIO(), io.BytesIO()
    figure.savefig(raw, format="png", dpi=2 * PIXELS_PER_INCH, facecolor="white")
    colours = {"colors": 256, "method": Image.Quantize.MAXCOVERAGE, "dither": Image.Dither.NONE}  # photographs, too
    Image.open(raw).convert("RGB").quantize(**colours).save(data, format="PNG", optimize=True)
    return data.getvalue()


def show(drawn: Figure | Axes, description: str) -> None:
    """Display a figure in a notebook, and close it.

    Args:
        drawn: a figure, or axes of it.
        description: what is drawn, for readers who do not see it. It is the picture's text wherever the picture is
            not shown, and its `alt` in the report's pages.

    Raises:
        ValueError: the description is empty, or the figure is wider than `PAGE_WIDTH`.
    """
    from IPython.display import display  # of the notebooks: nothing else here needs it

    figure = drawn.get_figure(root=True) if isinstance(drawn, Axes) else drawn
    text = " ".join(description.split())
    if not text:
        raise ValueError("description must say what is drawn; got an empty one.")
    width, height = (round(inches * PIXELS_PER_INCH) for inches in figure.get_size_inches())
    if width > round(PAGE_WIDTH * PIXELS_PER_INCH):
        raise ValueError(f"figures must be at most {PAGE_WIDTH} inches wide; got {width / PIXELS_PER_INCH:g}.")
    data = {"image/png": base64.b64encode(picture(figure)).decode(), "text/plain": text}
    display(data, metadata={"image/png": {"width": width, "height": height, "alt": text}}, raw=True)
    plt.close(figure)
