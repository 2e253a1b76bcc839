"""The modules of one model: where its decoder layers, its vision tower and its language-model head are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from v2drop.models.compilation import check_not_compiled
from v2drop.models.decoders import has_axes, has_deepstack, windows
from v2drop.models.families import FAMILIES, MASKED, Family

CROSS_ATTENTION = ("mllama", "idefics")  # asked for often enough to be told why not


@dataclass(frozen=True)
class ModelParts:
    """The modules of one model that dropping hooks into.

    Attributes:
        decoder: calls the layers in turn.
        layers: the decoder layers.
        receiver: is given `input_ids`; None for text models.
        vision_ids: of the placeholders of pictures and videos; empty for text models.
        head: gives logits; None if the model has none.
        tower, projector: of the pictures; None for text models.
        feature_layer: which layer of the tower, from 0, gives the features.
        windows: how many columns back each decoder layer sees, itself included; None: all.
        axes: position ids are places in time, height and width (M-RoPE).
        deepstack: the decoder adds features of pictures after some of its layers.
        operators: of attention, that can do what its layers ask for (`Family`).
    """

    decoder: nn.Module
    layers: nn.ModuleList
    receiver: nn.Module | None
    vision_ids: tuple[int, ...]
    head: nn.Module | None
    tower: nn.Module | None
    projector: nn.Module | None
    feature_layer: int
    windows: tuple[int | None, ...]
    axes: bool
    deepstack: bool
    operators: tuple[str, ...]


def locate(model: nn.Module) -> ModelParts:
    """Find the parts of a supported model.

    Raises:
        ValueError: the model is compiled, of an unsupported family, has layers of an unknown kind, or is not the class
            with the language-model head.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"a model must be as transformers loads it (loaded.model); got {type(model).__name__}.")
    check_not_compiled(model)
    name = getattr(getattr(model, "config", None), "model_type", None)
    if name in CROSS_ATTENTION:
        raise ValueError(
            f"{type(model).__name__} cannot drop vision tokens: they are no part of its sequence, layers of "
            f"cross-attention read them from beside it. Allowed: {', '.join(FAMILIES)}."
        )
    if name not in FAMILIES:
        raise ValueError(
            f"{type(model).__name__} (model_type {name!r}) is not supported; allowed: {', '.join(FAMILIES)}. "
            "v2drop/models/families.py says how to add a family."
        )
    family = FAMILIES[name]
    try:
        decoder = model.get_submodule(family.decoder)
        layers = decoder.get_submodule("layers")
        receiver = model.get_submodule(family.receiver) if family.receiver else None
    except AttributeError as error:
        raise ValueError(
            f"{type(model).__name__} has no {family.decoder}.layers; pass the model with its language-model head, "
            "as AutoModelForImageTextToText or AutoModelForCausalLM load it."
        ) from error
    ids = tuple(getattr(model.config, name) for name in family.placeholders) if receiver is not None else ()
    pictures, kinds = _pictures(model, family), (windows(decoder), has_axes(decoder), has_deepstack(decoder))
    kinds += (MASKED if any(kinds[0]) else family.operators,)
    return ModelParts(decoder, layers, receiver, ids, model.get_output_embeddings(), *pictures, *kinds)


def is_vision(ids: Tensor, vision_ids: tuple[int, ...]) -> Tensor:
    """Which ids are placeholders of pictures or videos, as flags of the same shape."""
    return sum((ids == vision for vision in vision_ids), torch.zeros_like(ids, dtype=torch.bool))


def _pictures(model: nn.Module, family: Family) -> tuple[nn.Module | None, nn.Module | None, int]:
    """The tower, the projector and the feature layer, if it is a CLIP tower that gives the features of one layer."""
    tower = model.get_submodule(family.tower) if family.tower else None
    number = getattr(model.config, "vision_feature_layer", None)
    if getattr(tower, "config", None) is None or tower.config.model_type != "clip_vision_model":
        return None, None, 0
    if not isinstance(number, int) or number == 0 or model.config.vision_feature_select_strategy != "default":
        return None, None, 0
    # hidden_states[0] enters the first layer, hidden_states[i] is the output of layer i - 1.
    layer = number - 1 if number > 0 else tower.config.num_hidden_layers + number
    return tower, model.get_submodule(family.projector), layer
