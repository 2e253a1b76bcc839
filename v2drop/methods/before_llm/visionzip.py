"""VisionZip: keep the patches that the class token attends to, and merge the others (arXiv 2412.04467)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates, Selection
from v2drop.methods.before_llm.base import BeforeLLM, quotas_per_image
from v2drop.types import Scores


@dataclass(frozen=True)
class VisionZip(BeforeLLM):
    r"""Patch i scores :math:`\sum_h A_h[\text{CLS}, i]` in the layer whose features the model takes.

    Of the n tokens left of a picture, c = round(10 n / 64) are *contextual* and n - c are *dominant*: 54 + 10,
    108 + 20, 162 + 30 in the paper. The class token is the first dominant one and becomes a token of the language
    model, which goes by position -1; then come the best patches in the order of the picture. Of the patches left over,
    c evenly spaced ones are targets; each other one goes to the target whose key (mean over heads) is nearest in angle.
    A contextual token is a target's feature plus the mean of those that went to it (so in the released code: a sum, no
    weighted mean), projected; it goes by its target's position. Contextual tokens come last.

    One token is the class token alone, two or three are patches beside it, from four on one is contextual. A picture
    that keeps all its patches is left as it is. The released code needs eager attention in the tower, which it replaces
    in the whole process for good; here one row of weights is computed beside any operator.
    """

    released_schedule: ClassVar[Schedule] = Schedule({0: 64 / 576}, label="VisionZip, README: 54 + 10")
    merges_tokens: ClassVar[bool] = True

    def score(self, candidates: Candidates) -> Scores:
        """Sum over heads."""
        tower = candidates.sequence.hooks
        tower.check(candidates)
        return tower.for_candidates(tower.attention.sum(1), candidates)

    def choose(self, candidates: Candidates, score: Scores) -> Selection:
        """Each picture's tokens stand at its first places."""
        most = max(candidates.n_keep)
        if not most:
            return super().choose(candidates, score)
        tower, projector = candidates.sequence.hooks, candidates.sequence.parts.projector
        features, keys = (tower.for_candidates(x, candidates) for x in (tower.features, tower.keys))
        images = torch.arange(len(tower.features), device=score.device)[:, None].expand(tower.features.shape[:2])
        image, of_class = tower.for_candidates(images, candidates), tower.class_feature.to(features.device)
        keep, ends = torch.zeros_like(candidates.valid), [0] * len(score)
        order = score.new_full((len(score), most), -1, dtype=torch.long)
        states = candidates.hidden.new_zeros(len(score), most, candidates.hidden.shape[2])
        for row, picture, quota in quotas_per_image(candidates):
            there = slice(ends[row], ends[row] + quota)
            ends[row] += quota
            keep[row, picture[:quota]] = True
            own = candidates.hidden[row, picture]
            if quota == len(picture):
                order[row, there], states[row, there] = picture, own
            elif quota:
                best, targets, merged = zipped(*(x[row, picture] for x in (score, features, keys)), quota)
                made = torch.cat([of_class[image[row, picture[:1]]], merged])
                # Past the hooks: the watcher's notes are of the tower's own features.
                made = projector.forward(made).to(own)
                states[row, there] = torch.cat([made[:1], own[best], made[1:]])
                order[row, there] = torch.cat([order.new_full((1,), -1), picture[best], picture[targets]])
        return Selection(keep, candidates.n_keep, order, states)


def split(left: int) -> tuple[int, int]:
    """How many of a picture's tokens are dominant, the class token too, and how many contextual.

    >>> [split(left) for left in (1, 2, 3, 4, 64, 128, 192)]
    [(1, 0), (2, 0), (3, 0), (3, 1), (54, 10), (108, 20), (162, 30)]
    """
    contextual = round(left * 10 / 64)
    return left - contextual, contextual


def zipped(
    score: Float[Tensor, " patches"],
    features: Float[Tensor, "patches width"],
    keys: Float[Tensor, "patches angle"],
    left: int,
) -> tuple[Int[Tensor, " best"], Int[Tensor, " contextual"], Float[Tensor, "contextual width"]]:
    """The dominant patches but for the class token, the targets, and the targets' new features.

    Args:
        score: of a picture's patches.
        features: of them, before the projector.
        keys: of them, mean over heads.
        left: how many class token, dominant patches and targets are together, fewer than there are patches.
    """
    dominant, contextual = split(left)
    order = score.argsort(descending=True, stable=True)
    best, rest = order[: dominant - 1].sort().values, order[dominant - 1 :].sort().values
    if not contextual:
        return best, rest[:0], features[:0]
    step = len(rest) // contextual
    is_target = torch.zeros_like(rest, dtype=torch.bool)
    is_target[: step * contextual : step] = True
    targets, others = rest[is_target], rest[~is_target]
    unit = normalize(keys.float(), dim=1)
    nearest = (unit[others] @ unit[targets].T).argmax(1)
    goes = one_hot(nearest, contextual).T.float()
    mean = goes @ features[others].float() / goes.sum(1, keepdim=True).clamp(min=1)
    return best, targets, features[targets] + mean.to(features)
