"""All choices of three drop layers of the embedded model at half of the tokens: the response surface behind C4."""

from itertools import combinations

from analysis.studies import Study, ask
from analysis.studies.ablations._subjects import SEED
from analysis.studies.cells.study import grid

# Layers before the first drop run on all tokens: behind layer 5 of 12, no three drops average half of them.
CHOICES = [layers for layers in combinations(range(1, 12), 3) if layers[0] <= 5]

STUDY = Study(
    "surface",
    ask,
    grid(subject=["embedded"], method=["v2drop", "random"], average=[1 / 2], layers=CHOICES, n=[100], seed=[SEED]),
    columns=("layers",),
    caption="Accuracy of the embedded model at half of the vision tokens (true average), by three drop layers.",
)
