"""V2Drop and attention with their last drops at random (arXiv 2512.07580): is there a depth from which none matters?"""

from analysis.studies import Study, ask
from analysis.studies.ablations._subjects import on_subjects

DROPS = {"embedded": (1, 4, 8), "smollm2": (3, 10, 20), "mosaic_smollm2": (3, 10, 20)}


def _tails(layers: tuple[int, ...], method: str) -> list[dict[str, str] | str]:
    """The method alone, with one random drop at the end, with two, and random dropping alone."""
    first, second, third = map(str, layers)
    return [method, {first: method, third: "random"}, {first: method, second: "random"}, "random"]


STUDY = Study(
    "random_tail",
    ask,
    [
        cell
        for subject, layers in DROPS.items()
        for named in ("v2drop", "fastv")
        for method in _tails(layers, named)[: 4 if named == "v2drop" else 3]
        for cell in on_subjects([subject], method=[method], average=[1 / 2], layers=[layers])
    ],
    columns=("average",),
    caption="Accuracy at half of the vision tokens (true average) with three drops, the last ones at random.",
)
