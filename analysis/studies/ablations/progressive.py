"""Claim C3: three drops one after the other against one drop, at the same true average and the same first layer."""

from analysis.studies import Study, ask
from analysis.studies.ablations._subjects import on_subjects

# Depths of the drops. One drop at the depth of the first of three must leave fewer tokens behind it.
FIRST = (1 / 12, 1 / 6, 1 / 4)
PROGRESSIVE = [(first, first + 1 / 6, first + 1 / 3) for first in FIRST]
ONE_SHOT = [(first,) for first in FIRST]

STUDY = Study(
    "progressive",
    ask,
    on_subjects(method=["nothing dropped"])
    + on_subjects(method=["v2drop", "fastv", "random"], average=[1 / 2, 1 / 3], depths=[*PROGRESSIVE, *ONE_SHOT]),
    columns=("depths",),
    by=("subject", "average"),
    caption="Accuracy by true average (share of the vision tokens) and depths of the drops.",
)
