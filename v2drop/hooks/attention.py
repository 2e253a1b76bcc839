"""Hooks that record queries and keys, from which methods compute attention weights."""

from __future__ import annotations

from functools import partial
from typing import Any

from jaxtyping import Int
from torch import Tensor, nn

from v2drop.engine.contract import Hooks
from v2drop.models.parts import ModelParts
from v2drop.scoring.attention import QueriesAndKeys
from v2drop.scoring.selection import gather_columns
from v2drop.types import Angles, Flags, StartAngles


class AttentionHooks(Hooks):
    """Records queries and keys of the layer before each drop layer; they belong to one forward pass."""

    def __init__(self) -> None:
        """Start with no notes."""
        self._notes: dict[str, Any] = {}
        self._starts: Int[Tensor, " batch"] | None = None  # column of each row's first token, as the prompt enters
        self._all_angles: Angles | None = None  # of the layer that runs, for all columns that enter layer 0

    def prefill_begins(self, vision: Flags, not_padding: Flags) -> None:
        """Record where rows start."""
        self._starts = not_padding.int().argmax(1)

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """Hook the layer before each drop layer, and its self-attention.

        The layer's hook comes before the engine's, and so receives the angles of all columns.
        """
        handles = []
        for drop in drop_layers:
            handles.append(parts.layers[drop - 1].register_forward_pre_hook(self._note_all_angles, with_kwargs=True))
            module = parts.layers[drop - 1].self_attn
            handles.append(module.register_forward_pre_hook(self._start, with_kwargs=True))
            for name in ("q_proj", "k_proj"):
                handles.append(getattr(module, name).register_forward_hook(partial(self._note, name)))
        return handles

    def _note_all_angles(self, layer: nn.Module, _: tuple, kwargs: dict[str, Any]) -> None:
        self._all_angles = kwargs["position_embeddings"]

    def _start(self, module: nn.Module, _: tuple, kwargs: dict[str, Any]) -> None:
        self._notes = {"module": module, "angles": kwargs["position_embeddings"], "mask": kwargs.get("attention_mask")}

    def _note(self, name: str, _: nn.Module, __: tuple, output: Tensor) -> None:
        self._notes[name] = output

    def pass_ends(self) -> None:
        """Let go of all tensors."""
        self._notes.clear()
        self._starts = self._all_angles = None

    @property
    def projected(self) -> QueriesAndKeys:
        """Queries and keys of the recorded layer that ran last."""
        return QueriesAndKeys.from_projections(
            *(self._notes[name] for name in ("module", "q_proj", "k_proj", "angles", "mask"))
        )

    @property
    def start_angles(self) -> StartAngles:
        """Cosines and sines of the rotary angles at each row's first token in the prompt, [batch, 1, angle]."""
        device = self._notes["angles"][0].device  # that of the layer; its input may have come from another
        columns = self._starts.to(device)[:, None]
        return tuple(gather_columns(x.to(device), columns) for x in self._all_angles)
