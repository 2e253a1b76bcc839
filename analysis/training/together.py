"""Stage 3 of the recipe: the whole model is trained, on the losses of both other stages.

The losses of the tower keep its class token informed, whose attention some methods rank patches by. Kinds of question
that were answered worst after stage 2 are asked more often.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from analysis.scenes.mosaic import Scene
from analysis.training.decoder import Answerer, decoder_loss
from analysis.training.packing import Packing, packing
from analysis.training.tower import PatchReader, tower_loss

WEAK_MORE_OFTEN = packing((3, 2, 3, 1, 2, 3, 2, 3, 2, 3))


class WholeModel(nn.Module):
    """A model with the heads of both stages; its tower is trained again."""

    def __init__(self, reader: PatchReader, answerer: Answerer) -> None:
        """Put together what stage 1 and stage 2 trained: two views of one model."""
        super().__init__()
        self.reader, self.answerer = reader, answerer
        reader.tower.requires_grad_(True)


def whole_loss(
    whole: WholeModel, scenes: list[Scene], step: int, ids: Callable, device: str, asked: Packing
) -> tuple[Tensor, dict[str, float]]:
    """The sum of the losses of stages 1 and 2, and their shares of right answers ("patch ...": those of the tower)."""
    answering, accuracy = decoder_loss(whole.answerer, scenes, step, ids, device, asked)
    reading, shares = tower_loss(whole.reader, scenes, device)
    return answering + reading, accuracy | {f"patch {name}": share for name, share in shares.items()}
