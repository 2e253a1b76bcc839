"""MustDrop: merge windows, keep what the class token attends to, drop what no text attends to (arXiv 2411.10803)."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real as Number
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates, Hooks, Selection
from v2drop.hooks.window_merging import WindowMergingHooks
from v2drop.methods.base import Method
from v2drop.methods.before_llm.base import quotas_per_image
from v2drop.models.parts import ModelParts
from v2drop.scoring.attention import at_columns
from v2drop.scoring.selection import gather_columns, padded_columns, top_mask
from v2drop.types import Scores


class Thresholds(NamedTuple):
    """When a token that is not key is dropped: both must be undercut.

    Attributes:
        global_share: share of the sum of all scores, g in the paper.
        single_attention: attention of any single text token, h in the paper.
    """

    global_share: float
    single_attention: float


@dataclass(frozen=True)
class MustDrop(Method):
    r"""At layer l, token i scores :math:`\sum_t \operatorname{mean}_h A_h^{l-1}[t, i]` over all text t behind pictures.

    Before that, windows of 3 x 3 patches become one token, the mean of their states after the tower's first block,
    where the mean cosine of their 36 pairs is 0.8 or more; a token goes by its window's first patch. In the language
    model a picture's merged tokens come first, then its single patches. At layer 0 the trace says of how many patches
    each is made. Of a picture's n tokens the best :math:`\lceil 0.08 n \rceil` by attention of the class token, mean
    over heads in the tower's last layer, are *key*: where others are left to drop they stay, and where not, the best
    scored of them.

    With thresholds (g, h) (`Thresholds`), as released, token i is dropped if it is no key, its score is below g times the sum of all
    scores, and no text token attends to it with h or more; then the schedule says at which layers alone, and the
    picture and the question how many. Without, the schedule's counts and shares are of the prompt's tokens before they
    are merged.

    After the last drop the caches from the layer before the first are cut to what it left, all but that of layer 0.

    The released code merges in every picture of a batch as many windows as in the one with fewest, takes one prompt at
    a time and decoders of 32 layers, and needs its own attention; here any batch is as its rows alone.

    Args:
        schedule: from layer 1 on.
        thresholds: (g, h); None: the schedule's counts decide.

    Raises:
        ValueError: the schedule drops at layer 0, or says how many where thresholds decide; thresholds are no two
            numbers; on a model, if it has no CLIP tower, or the tower runs a flash operator.
    """

    thresholds: Thresholds | tuple[float, float] | None = None

    released_schedule: ClassVar[Schedule] = Schedule(
        {3: 1.0, 7: 1.0, 11: 1.0, 15: 1.0}, label="MustDrop, README's 192: thresholds 0.001 and 0.001"
    )
    merges_at_entry: ClassVar[bool] = True
    trims_caches: ClassVar[bool] = True
    merges_tokens: ClassVar[bool] = True
    exact_count: ClassVar[bool] = False  # windows that are alike are merged
    needs_tower: ClassVar[bool] = True
    first_layer: ClassVar[int] = 1
    uses_query: ClassVar[bool] = True
    uses_position: ClassVar[bool] = True
    positions: ClassVar[Literal["keep", "repack"]] = "repack"

    def __post_init__(self) -> None:
        """Check the thresholds too."""
        super().__post_init__()
        if self.thresholds is None:
            return
        pair = self.thresholds
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(x, Number) for x in pair):
            raise ValueError(f"thresholds must be two numbers, as in (0.001, 0.001), or None; got {pair!r}.")
        if any(not isinstance(x, float) or x != 1 for x in self.schedule.left.values()):
            raise ValueError(
                "where thresholds decide, the schedule must leave everything, as in Schedule({3: 1.0, 7: 1.0}); got "
                f"{self.schedule}. Leave out thresholds, and its counts are met."
            )

    @classmethod
    def default(cls, model: nn.Module, **options: Any) -> MustDrop:
        """The method as released: four layers at the same depths, and thresholds that decide how many are left."""
        return super().default(model, **{"thresholds": Thresholds(0.001, 0.001)} | options)

    def hooks(self) -> Hooks:
        """Merges, and notes of the tower and of the text's attention."""
        return WindowMergingHooks()

    def check_model(self, parts: ModelParts) -> None:
        """Refuse a tower from which no patch can be hidden.

        Raises:
            ValueError: there is no tower, or its attention takes no mask.
        """
        super().check_model(parts)
        operator = parts.vision_tower.config._attn_implementation
        if operator not in ("eager", "sdpa"):
            raise ValueError(
                f"MustDrop hides merged patches in the vision tower; allowed there: eager, sdpa; got {operator!r}. "
                "Load the model with attn_implementation={'vision_config': 'sdpa'}."
            )

    def score(self, candidates: Candidates) -> Scores:
        """Attention of the text; at layer 0, patches per token."""
        tower = candidates.sequence.hooks
        if candidates.layer:
            return _attention(candidates).sum(1)
        tower.check(candidates)
        return tower.for_candidates(tower.patches_per_token, candidates)

    def choose(self, candidates: Candidates, score: Scores) -> Selection:
        """Key tokens, and others by thresholds or rank; at layer 0, every token."""
        if not candidates.layer:
            return _entering(candidates, score)
        tower, real = candidates.sequence.hooks, candidates.valid
        key = tower.for_candidates(tower.key, candidates)
        if self.thresholds is None:
            place = score.argsort(dim=1, descending=True, stable=True).argsort(1)
            return Selection(top_mask(key * score.shape[1] - place.float(), real, candidates.n_keep), candidates.n_keep)
        share, most = Thresholds(*self.thresholds)
        total = score.masked_fill(~real, 0).sum(1, keepdim=True)
        faint = (score < share * total) & (_attention(candidates).amax(1) < most)
        keep = real & (key | ~faint)
        return Selection(keep, keep.sum(1).tolist())


def _attention(candidates: Candidates) -> Float[Tensor, "batch text vision"]:
    """Mean over heads of the text's attention in the layer before; 0 where a row has less text."""
    sequence = candidates.sequence
    text, there = padded_columns(sequence.text_after, int(sequence.text_after.sum(1).max()))
    weights = at_columns(sequence.hooks.text.projected.weights(text, sequence.visible), sequence.columns).mean(1)
    return weights * there[..., None]


def _entering(candidates: Candidates, size: Scores) -> Selection:
    """A token for each window that was merged and each single patch, in this order at their picture's first places."""
    keep, orders = torch.zeros_like(candidates.valid), [[size.new_zeros(0, dtype=torch.long)] for _ in size]
    for row, picture, _ in quotas_per_image(candidates):
        made_of = size[row, picture]
        tokens = torch.cat([picture[made_of > 1], picture[made_of == 1]])
        keep[row, picture[: len(tokens)]] = True
        orders[row].append(tokens)
    order = pad_sequence([torch.cat(tokens) for tokens in orders], batch_first=True, padding_value=-1)
    left = keep.sum(1).tolist()
    if not any(left):
        return Selection(keep, left)
    return Selection(keep, left, order, gather_columns(candidates.hidden, order.clamp(min=0)))
