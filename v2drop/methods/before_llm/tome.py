"""ToMe: merge similar tokens inside the vision tower, a few in every block (arXiv 2210.09461)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from v2drop.budgets.schedule import Schedule
from v2drop.engine.contract import Hooks
from v2drop.hooks.token_merging import TokenMergingHooks
from v2drop.methods.before_llm.in_tower import InTower
from v2drop.models.parts import ModelParts
from v2drop.scoring.bipartite_merging import merges_per_block


@dataclass(frozen=True)
class ToMe(InTower):
    r"""In each block of the tower, between attention and MLP, merge r pairs of similar tokens.

    Tokens alternate between two sets. Each token of the first set is matched with the token of the second set whose key
    (mean over heads) has the largest cosine with its own. The r best matches are merged. A merged token is the mean of
    its tokens, weighted by their sizes; the size of a token is its number of patches. Attention is proportional:
    :math:`\log s_i` is added to the logits of a token i of size :math:`s_i`.

    The merges are spread evenly over the blocks up to the one that gives the features, so that the schedule's share of
    an image is left: r = 16 in 23 blocks leaves 208 of 576. A merged token takes the placeholder of the patch into
    which the others were merged. The original has no language model; the known ports to language models have neither
    sizes nor proportional attention, and lose the order of the patches.

    Args:
        schedule: schedule with layer 0 only; a share, if rows have several images.

    Raises:
        ValueError: as `InTower`; on a model, if halving in every block leaves more tokens than the schedule, or if the
            tower's attention operator takes no bias.
    """

    released_schedule: ClassVar[Schedule] = Schedule({0: 208 / 576}, label="ToMe, LLMC's port: r = 16")

    def hooks(self) -> Hooks:
        """Hooks that merge tokens in the tower."""
        return TokenMergingHooks(self.tokens_per_image)

    def check_model(self, parts: ModelParts) -> None:
        """Refuse a tower with too few blocks for the schedule, or whose attention takes no bias.

        Raises:
            ValueError: there is no CLIP tower, its attention operator is neither eager nor sdpa, or halving in every
                block leaves more tokens than the schedule.
        """
        super().check_model(parts)
        operator = parts.vision_tower.config._attn_implementation
        if operator not in ("eager", "sdpa"):
            raise ValueError(
                "ToMe's proportional attention adds to the logits of the vision tower; allowed there: eager, sdpa; got "
                f"{operator!r}. Load the model with attn_implementation={{'vision_config': 'sdpa'}}."
            )
        config = parts.vision_tower.config
        merges_per_block(
            (config.image_size // config.patch_size) ** 2, self.tokens_per_image(parts), parts.vision_feature_layer + 1
        )
