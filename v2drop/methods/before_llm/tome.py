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
    r"""In each block of the tower, between attention and MLP, merge r of the patches.

    Tokens alternate between two sets; each a of the first proposes to the b of the second with the largest cosine of
    keys, mean over heads, and the r best proposals are accepted. A merged token is the mean of its tokens, weighted by
    their sizes, the number of patches each is made of. Attention is proportional, with :math:`\log s_i` added to the
    logits of token i of size :math:`s_i`.

    The blocks up to the one whose features the model takes share out what is to be merged evenly, so that the
    schedule's share of a picture is left: r = 16 in 23 blocks leaves 208 of 576. In the language model a token goes by
    the place of the patch that others were merged into. The known ports to language models leave out sizes and
    proportional attention, and the order of patches; the original has no language model.

    Args:
        schedule: of layer 0 alone; a share where rows have several pictures.

    Raises:
        ValueError: as `InTower`; on a model whose tower has too few blocks to leave so few, or runs a flash operator.
    """

    released_schedule: ClassVar[Schedule] = Schedule({0: 208 / 576}, label="ToMe, LLMC's port: r = 16")

    def hooks(self) -> Hooks:
        """Merges, and notes of it."""
        return TokenMergingHooks(self.tokens_per_image)

    def check_model(self, parts: ModelParts) -> None:
        """Refuse a tower that cannot merge so much, or whose attention takes no bias.

        Raises:
            ValueError: it is so.
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
