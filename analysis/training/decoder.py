"""Stage 2 of the recipe: projector and decoder learn to answer, on features of a frozen tower.

Three heads help and are not needed after training: on the vision tokens behind the first third of the layers one names
digits, so that the decoder learns soon to put them together; on the last word of a question, behind half of the layers
and behind all, two say where the first digit is that one has to look at, and where the last. Answers alone hardly tell
how wrong a look was.
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

NAMED_AT, FIRST_AT = DECODER_LAYERS // 3, DECODER_LAYERS // 2  # layers before the heads
NAMING, PLACING = 0.2, 1.0  # weights of the heads' losses


class Answerer(nn.Module):
    """A model with heads that name the digits of vision tokens and say where a question makes one look."""

    def __init__(self, model: nn.Module) -> None:
        """Add the heads to a LLaVA, and freeze its tower."""
        super().__init__()
        model.model.vision_tower.requires_grad_(False)
        self.model, self.digit = model, nn.Linear(WIDTH, 11)
        self.first, self.last = nn.Linear(WIDTH, 2), nn.Linear(WIDTH, 2)


def decoder_loss(
    answerer: Answerer, scenes: list[Scene], step: int, ids: Callable, device: str, asked: Packing
) -> tuple[Tensor, dict]:
    """The loss of stage 2 (answers and ends, digits, places), and the share of right answers by kind."""
    tokens, labels, places = (t.to(device) for t in pack_questions(scenes, step, ids, asked))
    states = _states(answerer, scenes, tokens, ids, device, asked)
    labelled = labels != -100
    logits = answerer.model.lm_head(states[-1][:, -labels.shape[1] :][labelled])
    right = (logits.argmax(-1) == labels[labelled])[::2].view(len(scenes), -1).float().mean(0)
    accuracy = {kind: right[[k == kind for k in asked.kinds]].mean().item() for kind in dict.fromkeys(asked.kinds)}
    words = [states[layer][:, -labels.shape[1] :][labelled][::2] for layer in (FIRST_AT, -1)]
    found = torch.stack([answerer.first(words[0]), answerer.last(words[1])], 1)
    wanted = places.flatten(0, 1)
    # Before anything is subtracted: the gradient at NaN is NaN, also where it counts nought.
    known = ~wanted.isnan()
    placing = F.mse_loss(found[known], wanted[known])
    digit = patch_labels(scenes)[0].to(device)
    named = answerer.digit(states[NAMED_AT][:, 1 : 1 + digit.shape[1]])
    accuracy["digits named"] = (named.argmax(-1) == digit)[digit < 10].float().mean().item()
    accuracy["places"] = placing.sqrt().item()
    loss = F.cross_entropy(logits, labels[labelled]) + NAMING * patch_loss(named, digit) + PLACING * placing
    return loss, accuracy


def _states(
    answerer: Answerer, scenes: list[Scene], tokens: Tensor, ids: Callable, device: str, asked: Packing
) -> tuple[Tensor, ...]:
    """States of the whole sequence before each layer, and those behind the last one, normed."""
    inner, embed = answerer.model.model, answerer.model.get_input_embeddings()
    seen = inner.vision_tower(
        pixel_values=pixels(scenes).to(device), interpolate_pos_encoding=True, output_hidden_states=True
    ).hidden_states[inner.config.vision_feature_layer][:, 1:]
    start = embed(torch.full((len(scenes), 1), ids([BOS])[0], device=device))
    inputs = torch.cat([start, inner.multi_modal_projector(seen), embed(tokens)], 1)
    mask, positions = (t.to(device) for t in packing_mask(1 + seen.shape[1], asked.slots))
    bias = torch.zeros(mask.shape, dtype=inputs.dtype, device=device).masked_fill(~mask, -torch.inf)
    return inner.language_model(
        inputs_embeds=inputs, attention_mask=bias, position_ids=positions, output_hidden_states=True
    ).hidden_states
