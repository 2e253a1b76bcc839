"""Findings on the pages of another model than the one they are about: marked, so that nobody takes them for its own."""

import os
from pathlib import Path

from nbformat import NotebookNode

from analysis.models.loading import EMBEDDED

TAG = "finding"  # of a Markdown cell that says what was found


def other_model() -> str:
    """Return the name of the model that V2DROP_MODEL names; '' for the embedded one, however it is named."""
    model = os.environ.get("V2DROP_MODEL") or ""
    return "" if model and Path(model).resolve() == EMBEDDED else model


def mark_findings(notebook: NotebookNode, model: str) -> None:
    """Say above every tagged cell of a notebook which model its text is about.

    Args:
        notebook: that was run; changed in place.
        model: on which it was run; '' for the embedded one, which needs no marks.
    """
    for cell in notebook.cells:
        if model and TAG in cell.metadata.get("tags", []):
            cell.source = (
                f"> **Found on the embedded model, not on `{model}`.** What this text says, numbers included, is not "
                f"what the outputs on this page show.\n\n{cell.source}"
            )
