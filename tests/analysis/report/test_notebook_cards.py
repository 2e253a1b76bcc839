"""Cards: the question and the finding that a notebook's metadata gives, and the figure that its tag names."""

import base64
import io

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from analysis.report.notebook_cards import TAG, WIDTH, Card, Figure, card, main_figure, notebooks_table, thumbnail


def drawn(colour, size=(4, 4)):
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, format="PNG")
    return data.getvalue()


def cell(colour, alt=None, tags=()):
    png = base64.b64encode(drawn(colour)).decode()
    about = {"image/png": {"alt": alt}} if alt else {}
    return new_code_cell(
        "draw()", outputs=[new_output("display_data", {"image/png": png}, metadata=about)], metadata={"tags": [*tags]}
    )


def test_question_and_finding_are_metadata():
    said = {"v2drop": {"question": "Why?", "finding": "So."}}
    assert card(new_notebook(metadata=said)) == Card("Why?", "So.") and card(new_notebook()) == Card("", "")


@pytest.mark.parametrize(("tags", "expected"), [((), "red"), ((TAG,), "blue")])
def test_the_main_figure_is_the_tagged_one_or_the_first(tags, expected):
    notebook = new_notebook(cells=[new_code_cell("1"), cell("red", "a"), cell("blue", "a", tags)])
    assert main_figure(notebook) == Figure(drawn(expected), "a")


def test_a_notebook_may_have_no_figure():
    assert main_figure(new_notebook(cells=[new_code_cell("1")])) is None


def test_thumbnails_are_no_wider_than_a_card_needs():
    assert Image.open(io.BytesIO(thumbnail(Figure(drawn("red", (4 * WIDTH, 40)), "")))).size == (WIDTH, 10)


def test_the_table_has_one_row_a_notebook(tmp_path):
    import nbformat

    nbformat.write(new_notebook(metadata={"v2drop": {"question": "a|b?", "finding": "no"}}), tmp_path / "x.ipynb")
    assert notebooks_table(tmp_path).splitlines()[2:] == [rf"| a\|b? | [x]({tmp_path.name}/x.ipynb) | no |"]
