"""A second question about a picture, on what the first one's dropping left: methods that read it, and others."""

from analysis.studies import Study
from analysis.studies.ablations._subjects import SEED
from analysis.studies.cells.study import grid
from analysis.studies.next_question import ask_next

QUERY_AWARE, QUERY_FREE = ["fastv", "pdrop", "sparsevlm", "dart"], ["v2drop", "uniform"]

STUDY = Study(
    "next_question",
    ask_next,
    grid(
        subject=["embedded"],
        method=QUERY_AWARE + QUERY_FREE,
        average=[1 / 2, 1 / 3],
        depths=[(1 / 12,)],
        first=[0, 200],
        n=[200],
        seed=[SEED],
    ),
    columns=("average", "asked"),
    caption="Accuracy on a question asked alone, and after another about the same picture, one drop at layer 1.",
)
