"""The README's picture is what its notebook shows, and as large as the README needs."""

import io
from pathlib import Path

import pytest
from nbformat import write
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from analysis.report.overview import overview_picture

TOP = Path(__file__).parents[3]


def test_the_committed_picture_is_the_notebooks():
    data = (TOP / "notebooks" / "overview.png").read_bytes()
    assert data == overview_picture(TOP / "notebooks")
    picture = Image.open(io.BytesIO(data))
    assert picture.width == 1600
    assert min(picture.convert("RGB").getpixel((0, 0))) == 255  # light, whatever the page is


def test_the_readme_shows_and_describes_it():
    (line,) = [line for line in (TOP / "README.md").read_text().splitlines() if "notebooks/overview.png" in line]
    assert line.startswith("[![") and len(line.split("](")[0]) > 60


def test_without_such_a_cell_there_is_no_picture(tmp_path):
    write(new_notebook(cells=[new_code_cell("1", metadata={"tags": ["overview"]})]), tmp_path / "a.ipynb")
    with pytest.raises(ValueError, match="must have the tag 'overview' and show a picture; got 0"):
        overview_picture(tmp_path)
