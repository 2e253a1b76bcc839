"""Budget curves at true averages, and the budget below which a smaller picture is the better way."""

from analysis.studies import Study, ask
from analysis.studies.ablations._subjects import on_subjects

AVERAGES = [2 / 3, 1 / 2, 1 / 3, 2 / 9, 1 / 9]
DEPTHS = [(1 / 12, 1 / 2, 2 / 3)]  # those of V2Drop's released code
PICTURES = ["embedded", "mosaic_smollm2"]  # texts cannot be scaled down

STUDY = Study(
    "budgets",
    ask,
    on_subjects(PICTURES, method=["nothing dropped"])
    + on_subjects(PICTURES, method=["v2drop", "fastv", "random", "uniform"], average=AVERAGES, depths=DEPTHS)
    + on_subjects(PICTURES, method=["downsample"], average=AVERAGES),
    columns=("average",),
    caption="Accuracy by the true average of vision tokens (share).",
)
