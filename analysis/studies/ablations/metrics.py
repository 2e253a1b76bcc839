"""Claim C1: the three metrics of V2Drop at each depth, one drop to half of the tokens (of texts: notebook 07)."""

from analysis.studies import Study, ask
from analysis.studies.ablations._subjects import on_subjects
from analysis.studies.cells.study import Arguments

METRICS = ["l2", "l1", "cosine"]


def _at(layers: dict[str, list[int]]) -> list[Arguments]:
    cells = []
    for subject, drops in layers.items():
        axes = {"left": [{str(layer): 1 / 2} for layer in drops]}
        cells += on_subjects([subject], method=["v2drop"], options=[{"metric": m} for m in METRICS], **axes)
        cells += on_subjects([subject], method=["random"], **axes)
    return cells


STUDY = Study(
    "metrics",
    ask,
    _at({"embedded": [1, 2, 4, 6, 8, 10], "mosaic_smollm2": [3, 6, 10, 15, 20, 25]}),
    rows=("method", "options"),
    columns=("left",),
    caption="Accuracy behind one drop to half of the vision tokens, by its layer.",
)
