"""What is written of a study's table: Markdown, LaTeX that compiles or at least has the right form, CSV; the figure."""

import io
import re
import shutil
import subprocess

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from analysis.figures.study_figures import COLUMN, study_figure
from analysis.figures.study_tables import written_table

NASTY = r"50% of $x_1$ & #2 {a\b} ~ ^"


def table(*tables):
    """Two rows and two columns in each table, one mean best, one second, one alone."""
    rows = [
        ("v2drop", "72", 0.9, 0.8, 0.95, "best"),
        ("v2drop", "36", 0.5, 0.4, 0.6, ""),
        (NASTY, "72", 0.7, 0.6, 0.8, "second"),
        (NASTY, "36", 1.0, float("nan"), float("nan"), ""),
    ]
    columns = ["row", "column", "mean", "low", "high", "mark"]
    return pd.concat([pd.DataFrame(rows, columns=columns).assign(table=name, n=100) for name in tables])


def test_markdown():
    lines = written_table(table("embedded", "a|b"), caption="Accuracy.").split("\n")
    assert (
        lines[0] == "| embedded | 72 | 36 |"
        and lines[2] == "| v2drop | **0.900** [0.800, 0.950] | 0.500 [0.400, 0.600] |"
    )
    assert lines[3].endswith("| _0.700_ [0.600, 0.800] | 1.000 |") and lines[5].startswith(r"| a\|b |")
    assert lines[-1].startswith("Accuracy. **best**")


def test_csv_holds_all_numbers():
    pd.testing.assert_frame_equal(
        pd.read_csv(io.StringIO(written_table(table("m"), "csv")), dtype={"column": str}).fillna({"mark": ""})[
            ["row", "mean", "low"]
        ],
        table("m")[["row", "mean", "low"]],
    )


def test_latex_has_the_form_of_booktabs():
    written = written_table(table("embedded", "other"), "latex", NASTY, "tab:x")
    bare = re.sub(r"\\[\\&%$#_{}]", "", written)
    assert bare.count("{") == bare.count("}") and not set("%$#^~") & set(bare)
    for word in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{table}", r"\end{table}", r"\end{tabular}"):
        assert written.count(word) == 2
    body = [line for line in bare.split("\n") if "&" in line]
    assert len(body) == 6 and {line.count("&") for line in body} == {2}
    assert r"\textbf{0.900} [0.800, 0.950]" in written and r"\underline{0.700}" in written
    assert r"\label{tab:x}" in written and r"\label{tab:x-2}" in written


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no TeX is installed")
def test_latex_compiles_with_table_and_figure(tmp_path):
    figure = study_figure(table("m"))
    figure.savefig(tmp_path / "figure.pdf")
    plt.close(figure)
    packages = "\\documentclass{article}\\usepackage{booktabs,graphicx}\\begin{document}\n"
    text = written_table(table("m", "n"), "latex", NASTY)
    (tmp_path / "a.tex").write_text(packages + text + "\n\\includegraphics{figure.pdf}\\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_wrong_forms_and_frames_are_refused():
    with pytest.raises(ValueError, match="form must be"):
        written_table(table("m"), "html")
    with pytest.raises(ValueError, match="without"):
        written_table(table("m").drop(columns="mark"))


@pytest.mark.parametrize("columns", [{"72": "72", "36": "36"}, {"72": "1, 6, 8", "36": "3, 5, 7"}])
def test_the_figure_is_a_column_wide_and_shows_every_mean(columns):
    frame = table("embedded", "other")
    figure = study_figure(frame.assign(column=frame.column.map(columns)), "accuracy", "layers")
    assert figure.get_size_inches()[0] == COLUMN and len(figure.axes) == 2
    for ax in figure.axes:
        heights = [list(line.lines[0].get_ydata()) for line in ax.containers]
        assert heights == [[0.9, 0.5], [0.7, 1.0]]
        looks = {(line.lines[0].get_marker(), str(line.lines[0].get_linestyle())) for line in ax.containers}
        assert len(looks) == 2  # told apart without colour
        assert [tick.get_text() for tick in ax.get_xticklabels()] == list(columns.values())
    plt.close(figure)
