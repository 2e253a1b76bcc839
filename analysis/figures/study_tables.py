"""The table of a study as Markdown, booktabs LaTeX or CSV: long frame in, text out."""

from __future__ import annotations

import pandas as pd

from analysis.statistics.frames import checked
from v2drop.arguments import one_of

FORMATS = ("markdown", "latex", "csv")
KEYS = ["table", "row", "column"]
ESCAPED = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
ESCAPED |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
MARKED = {
    "markdown": {"best": "**{}**", "second": "_{}_", "": "{}"},
    "latex": {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "": "{}"},
}
MEANING = {
    "markdown": "**best**, _second best_: only where paired differences are significant after correction.",
    "latex": r"\textbf{Best} and \underline{second best} are marked only where paired differences are significant after"
    " correction.",
}


def written_table(table: pd.DataFrame, form: str = "markdown", caption: str = "", label: str = "tab:study") -> str:
    """A study's table as text, one after the other where it has several.

    Args:
        table: The frame of `analysis.studies.study_table`.
        form: "markdown", "latex" (booktabs; no other package) or "csv" (all numbers, in long form).
        caption: What it shows, and where it comes from.
        label: What LaTeX refers to it by; further tables have a number behind it.

    Raises:
        ValueError: There is no such form, or the frame lacks a column or has a cell twice.

    >>> cell = {"table": "m", "row": "a_b", "column": "72", "mean": 0.5, "low": 0.4, "high": 0.6, "mark": "best"}
    >>> print(written_table(pd.DataFrame([cell])))
    | m | 72 |
    |---|---|
    | a_b | **0.500** [0.400, 0.600] |
    <BLANKLINE>
    **best**, _second best_: only where paired differences are significant after correction.
    """
    one_of("form", form, FORMATS)
    kinds = dict.fromkeys(KEYS, "label") | dict.fromkeys(["mean", "low", "high", "mark"], "as it is")
    table = checked(table, "table", kinds, KEYS)
    table = table.assign(mark=table.mark.fillna(""))  # what a CSV is read back with
    if form == "csv":
        return table.to_csv(index=False, float_format="%.6g")
    parts = list(table.groupby("table", sort=False))
    if form == "markdown":
        said = f"{caption} {MEANING[form]}".strip()
        return "\n\n".join([_markdown(name, part) for name, part in parts] + [said])
    numbered = zip(parts, [label, *(f"{label}-{i}" for i in range(2, len(parts) + 1))], strict=True)
    return "\n\n".join(_latex(name, part, caption, label) for (name, part), label in numbered)


def _markdown(name: str, part: pd.DataFrame) -> str:
    rows = [[name, *part.column.unique()], *_cells(part, "markdown")]
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _latex(name: str, part: pd.DataFrame, caption: str, label: str) -> str:
    columns = [_escaped(column) for column in part.column.unique()]
    lines = [" & ".join(row) + r" \\" for row in _cells(part, "latex")]
    said = f"{_escaped(f'{name}: ' if name else '')}{_escaped(caption)} {MEANING['latex']}"
    head = [r"\begin{table}", r"\centering", rf"\caption{{{said}}}", rf"\label{{{label}}}"]
    body = [
        rf"\begin{{tabular}}{{l{'c' * len(columns)}}}",
        r"\toprule",
        " & ".join(["", *columns]) + r" \\",
        r"\midrule",
    ]
    return "\n".join([*head, *body, *lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def _cells(part: pd.DataFrame, form: str) -> list[list[str]]:
    """The texts of each row, its label first."""
    text = {(each.row, each.column): _cell(each, form) for each in part.itertuples()}
    name = _escaped if form == "latex" else str
    return [[name(row), *(text.get((row, column), "") for column in part.column.unique())] for row in part.row.unique()]


def _cell(each: tuple, form: str) -> str:
    mean = MARKED[form][each.mark].format(f"{each.mean:.3f}")
    return mean if pd.isna(each.low) else f"{mean} [{each.low:.3f}, {each.high:.3f}]"


def _escaped(text: str) -> str:
    return "".join(ESCAPED.get(sign, sign) for sign in text)
