"""VisionZip: keep the patches that the class token attends to most, and merge the others (arXiv 2412.04467)."""

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
    r"""Patch i scores :math:`\sum_h A_h[\text{CLS}, i]` in the tower layer that gives the features.

    Of the n tokens left of an image, c = round(10 n / 64) are *contextual* and n - c are *dominant*: 54 + 10, 108 + 20
    and 162 + 30 in the paper. The dominant tokens are the class token (position -1 in the trace), which comes first,
    and the patches with the highest scores, in the order of the image. Of the remaining patches, c evenly spaced ones
    are targets, and each other one is assigned to the target whose key (mean over heads) has the largest cosine with
    its own. A contextual token is the target's feature plus the mean of the features assigned to it, projected. (The
    released code adds them like this; it is not a weighted mean.) It has its target's position in the trace.
    Contextual tokens come last.

    n = 1 is the class token only, n = 2 and n = 3 are the class token and patches; from n = 4 on there are contextual
    tokens. An image that keeps all its patches is left as it is. The released code needs eager attention in the tower
    and replaces it in the whole process for good. Here the weights of the class token are computed separately, so the
    tower may run any attention operator.

    Args:
        schedule: schedule with layer 0 only.

    Raises:
        ValueError: the schedule has other layers; on a model, if it has no CLIP tower.
    """

    released_schedule: ClassVar[Schedule] = Schedule({0: 64 / 576}, label="VisionZip, README: 54 + 10")
    merges_tokens: ClassVar[bool] = True

    def score(self, candidates: Candidates) -> Scores:
        """Attention weights of the class token, summed over heads."""
        tower = candidates.sequence.hooks
        tower.check(candidates)
        return tower.for_candidates(tower.attention.sum(1), candidates)

    def choose(self, candidates: Candidates, scores: Scores) -> Selection:
        """Dominant and contextual tokens, at the first places of their image."""
        most = max(candidates.n_keep)
        if not most:
            return super().choose(candidates, scores)
        tower, projector = candidates.sequence.hooks, candidates.sequence.parts.projector
        features, keys = (tower.for_candidates(x, candidates) for x in (tower.features, tower.keys))
        images = torch.arange(len(tower.features), device=scores.device)[:, None].expand(tower.features.shape[:2])
        number, class_feature = tower.for_candidates(images, candidates), tower.class_feature.to(features.device)
        keep, ends = torch.zeros_like(candidates.valid), [0] * len(scores)
        order = scores.new_full((len(scores), most), -1, dtype=torch.long)
        states = candidates.hidden.new_zeros(len(scores), most, candidates.hidden.shape[2])
        for row, image, quota in quotas_per_image(candidates):
            places = slice(ends[row], ends[row] + quota)
            ends[row] += quota
            keep[row, image[:quota]] = True
            embeddings = candidates.hidden[row, image]
            if quota == len(image):
                order[row, places], states[row, places] = image, embeddings
            elif quota:
                best, targets, merged = zipped(*(x[row, image] for x in (scores, features, keys)), quota)
                new = torch.cat([class_feature[number[row, image[:1]]], merged])
                # `forward` runs no hooks: the tower's notes must stay those of the tower's own features.
                new = projector.forward(new).to(embeddings)
                states[row, places] = torch.cat([new[:1], embeddings[best], new[1:]])
                order[row, places] = torch.cat([order.new_full((1,), -1), image[best], image[targets]])
        return Selection(keep, candidates.n_keep, order, states)


def split(left: int) -> tuple[int, int]:
    """Number of dominant tokens, the class token included, and of contextual tokens of an image.

    Args:
        left: number of the image's tokens that are left; 1 or more.

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
    """Choose the dominant patches of an image and merge the others into contextual tokens.

    Args:
        score: scores of the image's patches.
        features: features of the patches, before the projector.
        keys: keys of the patches, mean over heads.
        left: number of tokens left: class token, dominant patches and contextual tokens together; from 1 to one less
            than the number of patches.

    Returns:
        Indices of the dominant patches, ascending; indices of the targets, ascending; features of the contextual
        tokens, one for each target.
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
    assigned = one_hot(nearest, contextual).T.float()
    mean = assigned @ features[others].float() / assigned.sum(1, keepdim=True).clamp(min=1)
    return best, targets, features[targets] + mean.to(features)
