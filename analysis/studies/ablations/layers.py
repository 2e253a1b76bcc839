"""Claim C4: does the choice of three drop layers matter? Six choices at one true average, half of the tokens."""

from analysis.studies import Study, ask
from analysis.studies.ablations._subjects import on_subjects

# Depths of the drops: those of V2Drop's released code, and what moves one of them or all.
CHOICES = [
    (1 / 12, 1 / 2, 2 / 3),
    (1 / 6, 1 / 2, 2 / 3),
    (1 / 12, 1 / 3, 2 / 3),
    (1 / 12, 1 / 2, 5 / 6),
    (1 / 4, 5 / 12, 7 / 12),
    (1 / 3, 1 / 2, 2 / 3),
]

STUDY = Study(
    "layers",
    ask,
    on_subjects(method=["nothing dropped"])
    + on_subjects(method=["v2drop", "fastv", "random", "uniform"], average=[1 / 2], depths=CHOICES),
    columns=("depths",),
    caption="Accuracy at half of the vision tokens (true average) by the depths of three drops.",
)
