"""MustDrop: merge similar windows, keep key tokens, drop tokens that no text attends to (arXiv 2411.10803)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from v2drop.arguments import number
from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Candidates, Hooks, Selection
from v2drop.hooks.window_merging import WindowMergingHooks
from v2drop.methods.base import Method
from v2drop.methods.before_llm.base import quotas_per_image
from v2drop.models.parts import ModelParts
from v2drop.scoring.attention import at_columns
from v2drop.scoring.selection import gather_columns, padded_columns, top_mask
from v2drop.sequence.position_ids import Positions
from v2drop.types import Scores


class Thresholds(NamedTuple):
    """Thresholds of MustDrop: a token that is not a key token is dropped if it is below both.

    Attributes:
        global_share: threshold on the token's score, as a share of the sum of all scores; g in the paper.
        single_attention: threshold on the largest attention weight of a single text token; h in the paper.
    """

    global_share: float
    single_attention: float


@dataclass(frozen=True)
class MustDrop(Method):
    r"""At layer l, token i scores :math:`\sum_t \operatorname{mean}_h A_h^{l-1}[t, i]` over text t after the images.

    *Merging in the tower.* A window of 3 x 3 patches becomes one token if the mean cosine of its 36 pairs is 0.8 or
    more after the tower's first block. The token's state is the mean of the window's states, and its position is that
    of the window's first patch. In the language model, an image's merged tokens come first, then its single patches.
    The trace's scores at layer 0 are the numbers of patches of the tokens.

    *Key tokens.* The :math:`\lceil 0.08 n \rceil` tokens of an image's n with the largest attention of the class token,
    mean over heads in the tower's last layer, are key tokens. A key token is dropped only if no others are left to
    drop, lowest scores first.

    *Number of tokens.* Without `thresholds` the schedule decides; its counts and shares refer to the prompt's vision
    tokens before merging. With `thresholds` (g, h), as released, the schedule gives the drop layers only. A token is
    dropped if it is no key token, its score is below g times the sum of all scores, and no text token attends to it
    with a weight of h or more.

    *Caches.* At the last drop, the caches from layer (first drop layer - 1) on are trimmed to the tokens that are left,
    except that of layer 0.

    The released code merges the same number of windows in all images of a batch, that of the image with the fewest. It
    takes one prompt at a time and decoders of 32 layers, and needs its own attention. Here every row of a batch has the
    same result as alone.

    Args:
        schedule: drop layers from 1 on.
        thresholds: thresholds (g, h); None: the schedule's counts decide.

    Raises:
        ValueError: the schedule drops at layer 0, or gives counts or shares below 1.0 together with thresholds;
            `thresholds` is not a pair of numbers; on a model, if it has no CLIP tower, or if the tower's attention
            operator takes no mask.
    """

    thresholds: Thresholds | tuple[float, float] | None = None

    positions: Positions | range = field(default="repack", kw_only=True)

    released_schedule: ClassVar[Schedule] = Schedule(
        {3: 1.0, 7: 1.0, 11: 1.0, 15: 1.0}, label="MustDrop, README's 192: thresholds 0.001 and 0.001"
    )
    merges_at_entry: ClassVar[bool] = True
    trims_caches: ClassVar[bool] = True
    merges_tokens: ClassVar[bool] = True
    exact_count: ClassVar[bool] = False  # merging may leave fewer tokens than the schedule
    cannot_protect: ClassVar[str] = "merges patches in the tower, where none can be left out"
    needs_tower: ClassVar[bool] = True
    first_layer: ClassVar[int] = 1
    uses_query: ClassVar[bool] = True
    uses_position: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the thresholds too."""
        super().__post_init__()
        if self.thresholds is None:
            return
        pair = self.thresholds
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f"thresholds must be two numbers, as in (0.001, 0.001), or None; got {pair!r}.")
        self._set("thresholds", Thresholds(*(number("each of thresholds", x) for x in pair)))
        if any(not isinstance(x, float) or x != 1 for x in self.schedule.left.values()):
            raise ValueError(
                "where thresholds decide, the schedule must leave everything, as in Schedule({3: 1.0, 7: 1.0}); got "
                f"{self.schedule}. To keep the schedule's counts, leave out thresholds."
            )

    @classmethod
    def default(cls, model: nn.Module, **options: Any) -> MustDrop:
        """The method as released: four drop layers at the same depths, thresholds 0.001 and 0.001.

        Args:
            model: model of a supported family.
            options: options of the method.
        """
        return super().default(model, **{"thresholds": Thresholds(0.001, 0.001)} | options)

    def hooks(self) -> Hooks:
        """Hooks that merge windows, and record attention in the tower and in the language model."""
        return WindowMergingHooks()

    def check_model(self, parts: ModelParts) -> None:
        """Refuse a tower in which patches cannot be hidden.

        Raises:
            ValueError: there is no CLIP tower, or its attention operator takes no mask.
        """
        super().check_model(parts)
        operator = parts.vision_tower.config._attn_implementation
        if operator not in ("eager", "sdpa"):
            raise ValueError(
                f"MustDrop hides merged patches in the vision tower; allowed there: eager, sdpa; got {operator!r}. "
                "Load the model with attn_implementation={'vision_config': 'sdpa'}."
            )

    def score(self, candidates: Candidates) -> Scores:
        """Attention of the text; at layer 0, number of patches of each token."""
        tower = candidates.sequence.hooks
        if candidates.layer:
            return _text_attention(candidates).sum(1)
        tower.check(candidates)
        return tower.for_candidates(tower.patches_per_token, candidates)

    def choose(self, candidates: Candidates, scores: Scores) -> Selection:
        """Key tokens, and others by thresholds or by scores; at layer 0, all merged tokens and single patches."""
        if not candidates.layer:
            return _merged_tokens(candidates, scores)
        tower, valid = candidates.sequence.hooks, candidates.valid
        key = tower.for_candidates(tower.key, candidates)
        if self.thresholds is None:
            place = scores.argsort(dim=1, descending=True, stable=True).argsort(1)
            keep = top_mask(key * scores.shape[1] - place.float(), valid, candidates.n_keep)
            return Selection(keep, candidates.n_keep)
        global_share, single_attention = Thresholds(*self.thresholds)
        total = scores.masked_fill(~valid, 0).sum(1, keepdim=True)
        below_both = (scores < global_share * total) & (_text_attention(candidates).amax(1) < single_attention)
        keep = valid & (key | ~below_both)
        return Selection(keep, keep.sum(1).tolist())


def _text_attention(candidates: Candidates) -> Float[Tensor, "batch text vision"]:
    """Attention weights of the text in the layer before, mean over heads; 0 where a row has less text."""
    sequence = candidates.sequence
    text, valid_text = padded_columns(sequence.text_after, int(sequence.text_after.sum(1).max()))
    weights = at_columns(sequence.hooks.text.projected.weights(text, sequence.visible), sequence.columns).mean(1)
    return weights * valid_text[..., None]


def _merged_tokens(candidates: Candidates, size: Scores) -> Selection:
    """The tokens of merged windows, then the single patches, at the first places of each image.

    Args:
        candidates: all patches, at layer 0.
        size: number of patches of the token at each patch; 0 where there is no token.
    """
    keep, orders = torch.zeros_like(candidates.valid), [[size.new_zeros(0, dtype=torch.long)] for _ in size]
    for row, image, _ in quotas_per_image(candidates):
        n_patches = size[row, image]
        tokens = torch.cat([image[n_patches > 1], image[n_patches == 1]])
        keep[row, image[: len(tokens)]] = True
        orders[row].append(tokens)
    order = pad_sequence([torch.cat(tokens) for tokens in orders], batch_first=True, padding_value=-1)
    n_kept = keep.sum(1).tolist()
    if not any(n_kept):
        return Selection(keep, n_kept)
    return Selection(keep, n_kept, order, gather_columns(candidates.hidden, order.clamp(min=0)))
