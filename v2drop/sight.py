"""What a method is shown at a drop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from v2drop.attention import Angles
from v2drop.candidates import Candidates, Whole
from v2drop.layout import Layout, take
from v2drop.models import Parts
from v2drop.types import Ranks, Real, States
from v2drop.watcher import Watcher

if TYPE_CHECKING:
    from v2drop.prompt import Prompt


@dataclass(frozen=True)
class Beside:
    """What a drop is told beside the states.

    Attributes:
        parts: of the model.
        watcher: the method's.
        placeholders: image placeholders of the caller's sequence, if they are known.
        previous: input of the layer before, where the method compares.
        angles: cosines and sines of the columns still there; None at layer 0.
        mask: the layer's attention mask of these columns, as the model's operator takes it.
    """

    parts: Parts
    watcher: Watcher
    placeholders: Tensor | None = None
    previous: States | None = None
    angles: Angles | None = None
    mask: Tensor | None = None


def candidates(
    prompt: Prompt, layer: int, layout: Layout, states: States, columns: Ranks, real: Real, beside: Beside
) -> Candidates:
    """The vision tokens at some columns of a layout, and the sequence that they stand in.

    Raises:
        ValueError: the schedule's counts grow for this prompt.
    """
    after = [prompt.method.schedule.after(n).get(layer, n) for n in prompt.of]
    origin = layout.index.gather(1, columns)
    hidden, before = (None if x is None else take(x, columns) for x in (states, beside.previous))
    visible = prompt.present.gather(1, layout.index) & layout.real
    order = torch.arange(layout.width, device=visible.device)
    whole = Whole(
        states=states,
        columns=columns,
        visible=visible,
        closing=prompt.closing.gather(1, layout.index) & layout.real,
        last=torch.where(visible, order, -1).amax(1, keepdim=True),
        noted=None if prompt.noted is None else prompt.noted.gather(1, layout.index) & layout.real,
        angles=beside.angles,
        mask=beside.mask,
        position=prompt.position.gather(1, origin),
        placeholders=beside.placeholders,
        parts=beside.parts,
        watcher=beside.watcher,
    )
    # A method may have left fewer than its schedule says.
    left = [min(k, most) for k, most in zip(after, prompt.left, strict=True)]
    rank = prompt.rank.gather(1, origin)
    return Candidates(layer, hidden, before, rank, real, prompt.of, list(prompt.left), left, whole)
