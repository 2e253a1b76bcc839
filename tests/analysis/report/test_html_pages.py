"""Pages show what a notebook says and run nothing of it; every picture in them is described."""

import base64
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from analysis.report.html_pages import markdown, page, title_and_summary

NOTEBOOKS = sorted((Path(__file__).parents[3] / "notebooks").glob("*.ipynb"))
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # 1 x 1 PNG


def shown(*cells, folder=Path(".")):
    return page(new_notebook(cells=list(cells)), "small", folder)


def figure(**about):
    output = new_output("display_data", data={"image/png": PIXEL}, metadata={"image/png": about} if about else {})
    return new_code_cell("draw()", outputs=[output])


@pytest.mark.parametrize(
    "raw",
    [
        "<script>alert(1)</script>",
        "words <script>alert(1)</script>",
        "<div onclick='alert(1)'>x</div>",
        "<img src=x onerror=alert(1)>",
        "# A <script>alert(1)</script> title",
    ],
)
def test_html_in_markdown_is_shown_as_text(raw):
    for text in (markdown(raw), shown(new_markdown_cell(raw)).split("</head>")[1]):
        assert not re.search("<(script|img|div on)", text) and "&lt;" in text


def test_html_in_a_title_is_shown_as_text():
    title, summary = title_and_summary(new_notebook(cells=[new_markdown_cell("# <b>A</b>\n\n<i>B</i>")]), "small")
    assert "&lt;b&gt;A&lt;/b&gt;" in title and "&lt;i&gt;B&lt;/i&gt;" in summary


def test_links_run_no_scripts():
    assert "javascript" not in markdown("[here](javascript:alert(1))")
    assert 'href="https://arxiv.org/abs/2509.01552"' in markdown("[V2Drop](https://arxiv.org/abs/2509.01552)")


def test_pictures_of_the_prose_are_inside(tmp_path):
    (tmp_path / "dot.png").write_bytes(base64.b64decode(PIXEL))
    assert f'src="data:image/png;base64,{PIXEL}"' in shown(new_markdown_cell("![a dot](dot.png)"), folder=tmp_path)


def test_a_described_picture_says_so_and_has_its_size():
    (image,) = re.findall("<img[^>]*>", shown(figure(alt='A "dot" < 2', width=430, height=200)))
    assert re.search(r"""alt=('A "dot" &lt; 2'|"A &quot;dot&quot; &lt; 2")""", image)
    assert 'width="430"' in image and 'height="200"' in image


def test_a_picture_without_description_is_known_by_its_heading():
    text = shown(new_markdown_cell("# One\n\nwords\n\n## Two $x$"), figure(), new_markdown_cell("### Three"), figure())
    assert re.findall('alt="([^"]*)"', text) == ["Figure under the heading: Two x", "Figure under the heading: Three"]


def test_widgets_fetch_nothing():
    notebook = new_notebook(cells=[new_code_cell("1")], metadata={"widgets": {"application/x": {"state": {}}}})
    assert "<script" not in page(notebook, "small", Path("."))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_picture_of_a_committed_notebook_is_described_in_its_own_words(path):
    notebook = nbformat.read(path, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    n_pictures = sum("image/png" in output.get("data", {}) for output in outputs)
    images = re.findall(r"<img[^>]*>", page(notebook, path.stem, path.parent))
    described = [re.search("alt=\"([^\"]*)\"|alt='([^']*)'", image) for image in images]
    texts = [found[1] or found[2] for found in described]
    assert len(texts) == len(set(texts)) == n_pictures > 0
    assert all(len(text) > 40 and not re.match("No description|Figure under|<Figure", text) for text in texts)
