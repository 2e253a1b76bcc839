"""Vision tokens that no drop may take: at positions that the user names, or with massive activations."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import torch

from v2drop.arguments import whole_numbers
from v2drop.engine.prompt_columns import PromptColumns
from v2drop.sequence.layout import Layout
from v2drop.types import Flags, States

MASSIVE = 5.0  # times the median norm of a row's vision tokens: an attention sink (arXiv 2402.17762, 2309.17453)

Protect = tuple[int, ...] | Literal["sinks"]


def checked_protect(protect: Any, refused: str = "") -> Protect:
    """What the user protects: ascending positions, or "sinks".

    Args:
        protect: what the user passed.
        refused: why a method cannot protect tokens; "" if it can.

    Raises:
        ValueError: it is neither "sinks" nor a collection of different ints of 0 or more; or not empty, and `refused`.

    >>> checked_protect({4, 0}), checked_protect(()), checked_protect("sinks")
    ((0, 4), (), 'sinks')
    """
    if not isinstance(protect, Collection) or (isinstance(protect, str) and protect != "sinks"):
        raise ValueError(f'protect must be a collection of positions, or "sinks"; got {protect!r}.')
    if refused and len(protect):
        raise ValueError(f"protect must be left out: the method {refused}; got {protect!r}.")
    if isinstance(protect, str):
        return "sinks"
    return whole_numbers("protect", protect, 0) if len(protect) else ()


def protected_flags(protect: Protect, columns: PromptColumns, layout: Layout, states: States) -> Flags:
    """Flags of the vision tokens that stay whatever their scores, for the columns of a layout.

    Args:
        protect: positions in a row's prompt, padding not counted; or "sinks": the tokens whose norm is over `MASSIVE`
            times the median norm of the row's remaining vision tokens.
        columns: columns of the prompt.
        layout: remaining columns.
        states: hidden states of these columns.
    """
    vision = columns.flags_in(layout, "vision")
    if not len(protect):
        return torch.zeros_like(vision)
    if protect == "sinks":
        norms = states.detach().float().norm(dim=-1).to(vision.device)
        median = norms.masked_fill(~vision, torch.nan).nanmedian(1, keepdim=True).values
        return vision & (norms > MASSIVE * median)
    named = torch.isin(columns.place, torch.tensor(protect, device=vision.device))
    return vision & named.gather(1, layout.index)
