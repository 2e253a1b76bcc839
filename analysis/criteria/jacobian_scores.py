"""Scores that know the Jacobian: what dropping by the theorem's own product needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.criteria.scores import scored
from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from analysis.progress import progress_bar
from analysis.scenes.asked import asked, prompts
from analysis.scenes.questions import Questions
from analysis.theorem.operator_norms import operator_norms

BATCH = 25  # questions whose prompts are made at once; norms are computed prompt by prompt


def scored_with_jacobians(
    loaded: Loaded, questions: Questions, layers: Sequence[int], seed: int = 0, **settings: Any
) -> pd.DataFrame:
    r"""The scores of many questions (`analysis.scored`), and the theorem's right side for every token.

    V2Drop takes variation for impact; the theorem's bound has the norm of the Jacobian as a factor,
    :math:`\lVert J_j \rVert_2 \lVert \Delta x_j \rVert_2` (arXiv 2509.01552). With `method_from_column` tokens can be
    dropped by either, by the norm alone, or at random, and `accuracy` says what that costs::

        table = scored_with_jacobians(loaded, questions, layers=[2])
        drop = Schedule({3: 48})  # scored by what layer 2 wrote
        columns = ("variation_l2", "operator_norm", "predicted_impact", "random")
        accuracy(loaded, questions, {name: method_from_column(table, name, drop) for name in columns})

    Unlike `variation_impact` it measures no impact, so it costs one backward pass for each entry of the output and
    prompt, from the last layer down to the first of `layers`, and an eigenvalue for each token and layer. Some answer
    candidates as the output (`output="logits", candidates=...`) are the cheapest.

    Args:
        loaded: Model and processor.
        questions: Scenes with a question each.
        layers: Decoder layers l, counted from 0: those before the drops that will be made.
        seed: The seed of the column random, as for `analysis.scored`.
        **settings: Further arguments of `operator_norms`: output, estimator, candidates, ...

    Returns:
        The frame of `analysis.scored` with the columns operator_norm (units of y per unit of x), predicted_impact
        (operator_norm times variation_l2, units of y), norm_estimator, dtype and output. Norms by "shared",
        the default for outputs of more than 256 entries, are lower bounds.

    Raises:
        ValueError: There is no question, or as for `operator_norms`.
    """
    check_loaded(loaded)
    questions, norms = asked(questions, "text", "kind"), []
    table = scored(loaded, questions, layers, BATCH, seed)
    for start in progress_bar(range(0, len(questions), BATCH), desc="Jacobians", unit="batch"):
        batch = questions[start : start + BATCH]
        inputs = prompts(loaded, batch)
        found = operator_norms(loaded.model, inputs, layers, loaded.vision_mask(inputs), **settings)
        norms.append(found.assign(sample=found["sample"] + start))
    joined = pd.concat(norms, ignore_index=True).drop(columns=["lower", "upper"])
    keys = ["sample", "layer", "token"]  # a token's position depends on its batch: `scored` makes the same ones
    table = table.merge(joined, on=keys, how="left", validate="one_to_one")
    return table.assign(predicted_impact=table.operator_norm * table.variation_l2)
