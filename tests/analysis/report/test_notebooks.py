"""The report runs any notebook, never writes one, and says which failed; tried on tiny ones."""

import os
import re
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from analysis.report.__main__ import main
from analysis.report.notebooks import kernel_environment

GOOD = new_notebook(
    cells=[
        new_markdown_cell("# Is $x_i$ < *y*?\n\nIt is, by $\\frac{1}{2}$.\n\nMore about it."),
        new_code_cell("from matplotlib import pyplot as plt\nplt.plot([1, 3])\nprint(f'{2 / 3:.5f}')"),
    ]
)
STALE = [new_output("stream", text="an old output\n")]
BAD = new_notebook(
    cells=[
        new_markdown_cell("no heading"),
        new_code_cell("print(17 * 3)"),
        new_code_cell("1 / 0"),
        new_code_cell("print('never')", outputs=STALE, execution_count=3),
    ]
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Notebooks, what the command printed, and the pages it wrote; run once, as a user would."""
    top = tmp_path_factory.mktemp("report")
    (top / "in").mkdir()
    for name, notebook in {"2_good": GOOD, "1_bad": BAD}.items():
        nbformat.write(notebook, top / "in" / f"{name}.ipynb")
    before = {path.name: path.read_bytes() for path in (top / "in").iterdir()}
    command = [sys.executable, "-m", "analysis.report", "--notebooks", "in", "--output", "out"]
    env = {key: value for key, value in os.environ.items() if key not in ("TQDM_DISABLE", "V2DROP_MODEL")}
    done = subprocess.run(command, cwd=top, env=env, capture_output=True, text=True, check=False)
    pages = {path.name: path.read_text() for path in (top / "out").iterdir()}
    return top, before, done, pages


def test_notebooks_stay_byte_identical(made):
    top, before, _, _ = made
    assert {path.name: path.read_bytes() for path in (top / "in").iterdir()} == before


def test_one_page_each_and_nothing_half_written(made):
    assert sorted(made[3]) == ["1_bad.html", "2_good.html", "index.html"]


def test_page_holds_numbers_figure_and_formulas(made):
    page = made[3]["2_good.html"]
    assert "0.66667" in page
    assert re.search(r'<img[^>]+src="data:image/png;base64,', page)
    assert "<mfrac>" in page and "$" not in re.sub(r"<(style|script).*?</\1>", "", page, flags=re.DOTALL)


def test_pages_fetch_nothing(made):
    for page in made[3].values():
        assert not re.search(r"""(src|srcset|data)\s*=\s*["']?(https?:)?//|<link|@import|url\(["']?http""", page)
        assert "import(" not in page


def test_failure_is_shown_and_the_others_still_run(made):
    _, _, done, pages = made
    assert done.returncode == 1
    assert "FAILED 1_bad.html: ZeroDivisionError: division by zero" in done.stderr
    assert "51" in pages["1_bad.html"] and "Traceback" in pages["1_bad.html"]
    assert "an old output" not in pages["1_bad.html"]
    bad, good = re.findall(r"<li.*?</li>", pages["index.html"], re.DOTALL)
    assert "1 of 2 notebooks FAILED" in pages["index.html"]
    assert "FAILED" in bad and "ZeroDivisionError" in bad and "1_bad.html" in bad
    assert "FAILED" not in good and "2_good.html" in good


def test_index_says_title_first_paragraph_and_versions(made):
    index = made[3]["index.html"]
    assert re.search(r"Is <math.*</math> &lt; <em>y</em>\?</a></h3>", index)
    assert re.search(r"<p>It is, by <math.*</math>\.</p>", index) and "More about it" not in index
    assert "<p>no heading</p>" in index and ">1_bad</a>" in index
    for name in ("v2drop", "torch", "transformers"):
        assert re.search(rf"<dt>{name}</dt><dd>\d+\.\d+", index)
    assert "<dt>Model</dt><dd>the embedded one</dd>" in index


def test_progress_counts_the_cells_of_all_notebooks(made):
    assert "4/4" in made[2].stderr  # 3 and 1, the one after the failure too


def test_good_run_ends_well_and_names_the_model(tmp_path, monkeypatch, capsys):
    nbformat.write(new_notebook(cells=[new_code_cell("print(1.5)")]), tmp_path / "a.ipynb")
    monkeypatch.setenv("V2DROP_MODEL", "some/<model>")
    monkeypatch.setenv("TQDM_DISABLE", "1")
    assert main(["--notebooks", str(tmp_path), "--output", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "index.html")
    assert "some/&lt;model&gt;" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "--notebooks must hold at least one .ipynb"),
        ("not json", "broken.ipynb must be a notebook"),
        ("[]", "broken.ipynb must be a notebook"),
    ],
)
def test_nothing_to_run_is_an_error(tmp_path, capsys, text, message):
    if text is not None:
        (tmp_path / "broken.ipynb").write_text(text)
    with pytest.raises(SystemExit) as stop:
        main(["--notebooks", str(tmp_path), "--output", str(tmp_path / "out")])
    assert stop.value.code == 2 and message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_folders_must_be_folders(tmp_path, capsys):
    nbformat.write(GOOD, tmp_path / "good.ipynb")
    with pytest.raises(SystemExit):
        main(["--notebooks", str(tmp_path / "nowhere")])
    assert "--notebooks must be a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--notebooks", str(tmp_path), "--output", str(tmp_path / "good.ipynb")])
    assert "--output must be a folder" in capsys.readouterr().err


def test_a_model_in_a_folder_is_found_from_the_notebooks_folder(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    for given, seen in (("model", str(tmp_path / "model")), ("org/name", "org/name")):
        monkeypatch.setenv("V2DROP_MODEL", given)
        assert kernel_environment()["V2DROP_MODEL"] == seen


def test_what_is_wrong_with_a_file_of_methods_is_said_before_anything_runs(tmp_path, monkeypatch, capsys):
    nbformat.write(GOOD, tmp_path / "a.ipynb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("V2DROP_METHODS", "elsewhere.py")
    for arguments, named in ((["--methods", "nowhere.py"], "nowhere.py"), ([], "elsewhere.py")):
        monkeypatch.setenv("V2DROP_METHODS", "elsewhere.py")
        with pytest.raises(SystemExit) as ended:
            main(["--notebooks", ".", *arguments])
        assert (
            ended.value.code == 2
            and f"must be a Python file (.py) that exists; got {named!r}" in capsys.readouterr().err
        )
    assert not (tmp_path / "reports").exists()
