"""Stage 2 of the recipe: projector and decoder learn to answer, on features of a frozen tower.

A head on the vision tokens after the first third of the layers names digits, so that the decoder learns soon to put
them together, and there; it is not needed after training.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.scenes.mosaic import Scene
from analysis.training.model import BOS, DECODER_LAYERS, WIDTH
from analysis.training.packing import Packing, pack_questions, packing_mask
from analysis.training.tower import patch_labels, patch_loss, pixels

NAMED_AT = DECODER_LAYERS // 3


class Answerer(nn.Module):
    """A model with a head that names the digits of vision tokens."""

    def __init__(self, model: nn.Module) -> None:
        """Add the head to a LLaVA, whose tower is not trained any more."""
        super().__init__()
        model.model.vision_tower.requires_grad_(False)
        self.model, self.digit = model, nn.Linear(WIDTH, 11)


def decoder_loss(
    answerer: Answerer, scenes: list[Scene], step: int, ids: Callable, device: str, asked: Packing
) -> tuple[Tensor, dict]:
    """The loss of stage 2 (cross-entropy of answer, end and digits), and the share of right answers by kind."""
    tokens, labels = (t.to(device) for t in pack_questions(scenes, step, ids, asked))
    states, named = _states(answerer, scenes, tokens, ids, device, asked)
    labelled = labels != -100
    logits = answerer.model.lm_head(states[:, -labels.shape[1] :][labelled])
    right = (logits.argmax(-1) == labels[labelled])[::2].view(len(scenes), -1).float().mean(0)
    accuracy = {kind: right[[k == kind for k in asked.kinds]].mean().item() for kind in dict.fromkeys(asked.kinds)}
    digit = patch_labels(scenes)[0].to(device)
    digit_logits = answerer.digit(named)
    accuracy["digits named"] = (digit_logits.argmax(-1) == digit)[digit < 10].float().mean().item()
    return F.cross_entropy(logits, labels[labelled]) + 0.2 * patch_loss(digit_logits, digit), accuracy


def _states(
    answerer: Answerer, scenes: list[Scene], tokens: Tensor, ids: Callable, device: str, asked: Packing
) -> tuple[Tensor, Tensor]:
    """Final states of the whole sequence, and those of the vision tokens where digits are named."""
    inner, embed = answerer.model.model, answerer.model.get_input_embeddings()
    with torch.no_grad():
        seen = inner.vision_tower(
            pixel_values=pixels(scenes).to(device), interpolate_pos_encoding=True, output_hidden_states=True
        ).hidden_states[inner.config.vision_feature_layer][:, 1:]
    start = embed(torch.full((len(scenes), 1), ids([BOS])[0], device=device))
    inputs = torch.cat([start, inner.multi_modal_projector(seen), embed(tokens)], 1)
    mask, positions = (t.to(device) for t in packing_mask(1 + seen.shape[1], asked.slots))
    bias = torch.zeros(mask.shape, dtype=inputs.dtype, device=device).masked_fill(~mask, -torch.inf)
    out = inner.language_model(
        inputs_embeds=inputs, attention_mask=bias, position_ids=positions, output_hidden_states=True
    )
    return out.last_hidden_state, out.hidden_states[NAMED_AT][:, 1 : 1 + seen.shape[1]]
