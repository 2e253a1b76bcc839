"""Refusal of values that would decide at random which tokens stay: NaN, infinity, scores of a wrong shape."""

from __future__ import annotations

import torch
from torch import Tensor

from v2drop.types import Flags, States, Valid


def check_states(layer: int, states: States, visible: Flags) -> None:
    """Refuse hidden states that are not finite.

    Args:
        layer: the drop layer.
        states: hidden states at its input.
        visible: flags of the columns that are neither padding nor holes; others may hold anything.

    Raises:
        ValueError: a visible column holds NaN or infinity.
    """
    wrong = (~states.detach().isfinite().all(-1) & visible).sum(1).tolist()
    if any(wrong):
        row = next(row for row, n in enumerate(wrong) if n)
        raise ValueError(
            f"layer {layer}, row {row}: {wrong[row]} of {int(visible[row].sum())} hidden states hold NaN or infinity "
            f"({states.dtype}), so tokens cannot be compared. If the model overflows, load it in bfloat16 or float32; "
            "if its weights or its input hold NaN, mend these."
        )


def check_scores(method: str, layer: int, score: Tensor, valid: Valid) -> None:
    """Refuse scores that do not rank the candidates.

    Args:
        method: name of the method's class.
        layer: the drop layer.
        score: what the method's `score` returned.
        valid: flags of the candidates; False in padding, where any number is allowed.

    Raises:
        ValueError: the scores are no tensor of floats, there is not one for each candidate, or one is NaN.
    """
    if not isinstance(score, Tensor) or not score.is_floating_point():
        got = score.dtype if isinstance(score, Tensor) else type(score).__name__
        raise ValueError(f"{method}.score must give a tensor of floats, as torch.float32; got {got}.")
    if score.shape != valid.shape:
        raise ValueError(
            f"{method}.score must give one score a candidate, {tuple(valid.shape)}; got {tuple(score.shape)}."
        )
    wrong = (score.isnan() & valid.to(score.device)).any(1)
    if wrong.any():
        rows = torch.nonzero(wrong)[0].tolist()
        raise ValueError(f"{method}.score gave NaN at layer {layer}, row {rows[0]}, which ranks no token.")
