"""Findings on pages of another model or of more methods than they are about: marked, lest they be taken for theirs."""

import os
from pathlib import Path

from nbformat import NotebookNode

from analysis.models.loading import EMBEDDED
from v2drop.methods.from_file import added_methods

TAG = "finding"  # of a Markdown cell that says what was found


def other_model() -> str:
    """Return the name of the model that V2DROP_MODEL names; '' for the embedded one, however it is named."""
    model = os.environ.get("V2DROP_MODEL") or ""
    return "" if model and Path(model).resolve() == EMBEDDED else model


def other_methods() -> str:
    """Return the names of the methods that were added (`add_methods`), for a sentence; '' if there are none."""
    return ", ".join(f"`{name}`" for name in added_methods())


def mark_findings(notebook: NotebookNode, model: str, methods: str = "") -> None:
    """Say above every tagged cell of a notebook which model and methods its text is about.

    Args:
        notebook: that was run; changed in place.
        model: on which it was run; '' for the embedded one, which needs no marks.
        methods: that were added; '' for none, which needs no marks.
    """
    marks = []
    if model:
        marks.append(
            f"> **Found on the embedded model, not on `{model}`.** What this text says, numbers included, is not "
            "what the outputs on this page show.\n\n"
        )
    if methods:
        marks.append(f"> **Found without {methods}**, of which this text says nothing.\n\n")
    for cell in notebook.cells:
        if TAG in cell.metadata.get("tags", []):
            cell.source = "".join([*marks, cell.source])
