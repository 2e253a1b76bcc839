"""The grafted model under training, and the losses of its recipe's stages."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.models.checkpoints import graft
from analysis.scenes.drawing import COLOURS
from analysis.scenes.mosaic import Scene
from analysis.training.chat_packing import BEFORE, ChatSlots, ChatWords, chat_slots
from analysis.training.low_rank import add_low_rank
from analysis.training.packing import packing_mask
from analysis.training.tower import patch_labels, pixels

WEIGHTS = {"how-many": 2.0, "twice": 2.0}  # of questions that are the same about every scene, and can stand there once
BACKGROUND = 0.2  # weight of a patch without a digit in stage 1
SIDES = (("top", "bottom"), ("left", "right"))
PLACE = 0.7  # size of the words for a place beside those for digit and colour


class Graft(nn.Module):
    """The model under training; `trained` holds all that is learnt, and is all that a checkpoint needs.

    A head, which is thrown away after training, says from the last state before an answer where the first digit is that
    the question makes one look at, and where the last: answers alone hardly tell how wrong a look was.

    Args:
        names: The names of the decoder's linear maps that get a low-rank part.
        device: Where it runs.
        word_norms: Whether the loss holds the projected features to the norm of word embeddings.
    """

    def __init__(self, names: Sequence[str], device: str, word_norms: bool = False) -> None:
        """Freeze everything but the projector and the low-rank parts."""
        super().__init__()
        inner = graft.untrained().requires_grad_(False).model
        self.tower, self.projector = inner.vision_tower.to(device), inner.multi_modal_projector.to(device)
        # In 16 bits where the hardware has them: many CPUs take longer over them than over 32.
        self.decoder = inner.language_model.to(device, torch.float32 if device == "cpu" else torch.bfloat16)
        self.updates = add_low_rank(self.decoder, names)
        self.projector.requires_grad_(True)
        parts = [p for each in self.updates.values() for p in (each.to(device).down, each.up)]
        self.places = nn.Linear(self.decoder.config.hidden_size, 4, device=device)
        self.trained = nn.ModuleDict(
            {"projector": self.projector, "updates": nn.ParameterList(parts), "places": self.places}
        )
        self.words, self.device = ChatWords(graft.tokenizer()), device
        self.norm = self.decoder.embed_tokens.weight.float().norm(dim=-1).mean() if word_norms else None

    def features(self, scenes: Sequence[Scene]) -> Tensor:
        """The projected features of the scenes' patches, float32 [batch, patches, dim]."""
        with torch.no_grad():
            seen = self.tower(
                pixel_values=pixels(scenes).to(self.device), interpolate_pos_encoding=True
            ).last_hidden_state
        return self.projector(seen[:, 1:])

    def embedded(self, text: str) -> Tensor:
        """The mean embedding of a text's tokens, float32 [dim]."""
        ids = torch.tensor(self.words.ids(text), device=self.device)
        return self.decoder.embed_tokens(ids).float().mean(0)


def word_loss(model: Graft, scenes: Sequence[Scene]) -> tuple[Tensor, dict]:
    """The loss of stage 1: how far projected patches are from the words for what they show."""
    digit, colour, _ = (t.to(model.device) for t in patch_labels(scenes))
    blank = torch.zeros_like(model.embedded("a"))
    digits = torch.stack([*(model.embedded(str(d)) for d in range(10)), blank])
    colours = torch.stack([*(model.embedded(f" {name}") for name in COLOURS), blank])
    grid = torch.arange(scenes[0].grid, device=model.device) * 2 < scenes[0].grid
    rows, columns = (torch.where(grid[:, None], model.embedded(f" {a}"), model.embedded(f" {b}")) for a, b in SIDES)
    places = (rows[:, None] + columns[None]).flatten(0, 1)
    wanted = digits[digit] + colours[colour] + PLACE * places
    error = (model.features(scenes) - wanted).square().mean(-1)
    filled = digit < 10
    loss = (error * torch.where(filled, 1.0, BACKGROUND)).sum() / torch.where(filled, 1.0, BACKGROUND).sum()
    share = 1 - error[filled].mean() / wanted[filled].var(0).mean()
    return 1000 * loss, {"explained": share.item()}


def answer_loss(model: Graft, scenes: Sequence[Scene], step: int, kinds: Sequence[str]) -> tuple[Tensor, dict]:
    """The loss of stages 2 and 3 (answers and ends, places), and the share of right answers by kind."""
    asked = chat_slots(scenes, step, model.words, kinds)
    features, labels = model.features(scenes), asked.labels.to(model.device)
    states = states_behind(model, features, asked)[:, -labels.shape[1] :]
    labelled = labels != -100
    logits = F.linear(states[labelled], model.decoder.embed_tokens.weight).float()
    weights = torch.tensor([WEIGHTS.get(kind, 1.0) for kind in kinds], device=model.device)
    weight = weights.repeat_interleave(torch.tensor(asked.slots, device=model.device)).expand_as(labels)[labelled]
    losses = F.cross_entropy(logits, labels[labelled], reduction="none")
    hit = torch.ones_like(labelled)
    hit[labelled] = logits.argmax(-1) == labels[labelled]
    right = torch.stack([slot.all(1) for slot in hit.split(asked.slots, 1)], 1).float().mean(0)
    shares = {kind: right[[k == kind for k in kinds]].mean().item() for kind in dict.fromkeys(kinds)}
    placing = _place_loss(model, states, labelled, asked)
    loss = (losses * weight).sum() / weight.sum() + placing
    if model.norm is not None:
        loss = loss + (features.norm(dim=-1) / model.norm - 1).square().mean()
    return loss, shares | {"places": placing.sqrt().item()}


def _place_loss(model: Graft, states: Tensor, labelled: Tensor, asked: ChatSlots) -> Tensor:
    """The mean squared error of rows and columns, which go from -1 to 1, over looks at one digit."""
    first = torch.stack([slot.float().argmax(1) for slot in labelled.split(asked.slots, 1)], 1)
    starts = torch.tensor([0, *asked.slots[:-1]], device=first.device).cumsum(0)
    before = states[torch.arange(len(states), device=first.device)[:, None], starts + first]
    wanted = asked.places.to(first.device).flatten(2)
    known = ~wanted.isnan()  # before anything is subtracted: the gradient at NaN is NaN, also where it counts nought
    return F.mse_loss(model.places(before.float())[known], wanted[known])


def states_behind(model: Graft, features: Tensor, asked: ChatSlots) -> Tensor:
    """The normed states behind the decoder, [batch, length, dim]."""
    embed, tokens = model.decoder.embed_tokens, asked.tokens.to(model.device)
    before = embed(torch.tensor(model.words.ids(BEFORE), device=model.device)).expand(len(features), -1, -1)
    inputs = torch.cat([before, features.to(before.dtype), embed(tokens)], 1)
    mask, positions = (t.to(model.device) for t in packing_mask(inputs.shape[1] - tokens.shape[1], asked.slots))
    bias = torch.zeros(mask.shape, dtype=inputs.dtype, device=model.device).masked_fill(~mask, -torch.inf)
    return model.decoder(
        inputs_embeds=inputs, attention_mask=bias, position_ids=positions, use_cache=False
    ).last_hidden_state
