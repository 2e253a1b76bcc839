"""What happens to position ids: kept, repacked, or kept in some layers alone (LayerPos, arXiv 2609.23715)."""

from analysis.studies import Study, ask
from analysis.studies.ablations._subjects import on_subjects

# LayerPos keeps them in layers 7 to 21 of LLaVA-1.5-7B's 32, counted from 1: at the same depths of 12 and of 30 layers.
MIDDLE = {"embedded": list(range(2, 8)), "smollm2": list(range(6, 20)), "mosaic_smollm2": list(range(6, 20))}

STUDY = Study(
    "position_ids",
    ask,
    [
        cell
        for subject, middle in MIDDLE.items()
        for cell in on_subjects([subject], method=["nothing dropped"])
        + on_subjects(
            [subject],
            method=["v2drop", "uniform", "random"],
            average=[1 / 2],
            depths=[(1 / 12, 1 / 2, 2 / 3)],
            options=[{"positions": "keep"}, {"positions": "repack"}, {"positions": middle}],
        )
    ],
    columns=("options",),
    caption="Accuracy at half of the vision tokens (true average) by what happens to position ids.",
)
