"""Notes of queries and keys, from which methods compute rows of attention."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from v2drop.engine.contract import Hooks
from v2drop.models.parts import ModelParts
from v2drop.scoring.attention import QueriesAndKeys


class AttentionHooks(Hooks):
    """Notes queries and keys of every layer before a drop."""

    def __init__(self) -> None:
        """Know nothing."""
        self._seen: dict[str, Any] = {}

    def install(self, parts: ModelParts, drop_layers: tuple[int, ...]) -> list[Any]:
        """On the self-attention of the layers before drops."""
        handles = []
        for drop in drop_layers:
            module = parts.layers[drop - 1].self_attn
            handles.append(module.register_forward_pre_hook(self._start, with_kwargs=True))
            for name in ("q_proj", "k_proj"):
                handles.append(getattr(module, name).register_forward_hook(partial(self._note, name)))
        return handles

    def _start(self, module: nn.Module, _: tuple, kwargs: dict[str, Any]) -> None:
        self._seen = {"module": module, "angles": kwargs["position_embeddings"], "mask": kwargs.get("attention_mask")}

    def _note(self, name: str, _: nn.Module, __: tuple, output: Tensor) -> None:
        self._seen[name] = output

    def pass_ends(self) -> None:
        """Let go of all tensors."""
        self._seen.clear()

    @property
    def projected(self) -> QueriesAndKeys:
        """Queries and keys of the layer that ran last."""
        return QueriesAndKeys.from_projections(
            *(self._seen[name] for name in ("module", "q_proj", "k_proj", "angles", "mask"))
        )
