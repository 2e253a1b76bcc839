"""How three drops share one true average: most at the first, evenly, or most at the last."""

from analysis.studies import Study, ask
from analysis.studies.ablations._subjects import on_subjects

# Shares of the tokens left from layers 1, 6 and 8 of 12 on: one layer runs on all tokens, then 5, 2 and 4 on what is
# left, so that 1 + 5 a + 2 b + 4 c = 6 has half of them on average. From one early drop to the most at the last.
LAYERS = ("1", "6", "8")
SHARES = [(5 / 11, 5 / 11, 5 / 11), (0.55, 0.4, 0.3625), (0.6345, 0.4026, 0.2555), (0.8, 0.2, 0.15), (0.9, 0.25, 0.0)]

STUDY = Study(
    "stages",
    ask,
    on_subjects(["embedded"], method=["nothing dropped"])
    + on_subjects(
        ["embedded"],
        method=["v2drop", "fastv", "random", "uniform"],
        left=[dict(zip(LAYERS, shares, strict=True)) for shares in SHARES],
    ),
    columns=("left",),
    caption="Accuracy at half of the vision tokens (true average) by the shares left behind three drops.",
)
