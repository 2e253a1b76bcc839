"""The modules of one model: decoder layers, vision tower, language-model head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from v2drop.models.compilation import check_not_compiled
from v2drop.models.decoders import uses_deepstack, uses_mrope, window_per_layer
from v2drop.models.families import FAMILIES, WITHOUT_FLASH, Family
from v2drop.models.wrappers import is_whole, path_to_model

CROSS_ATTENTION = ("mllama", "idefics")  # families that users often ask for; they get a reason of their own


@dataclass(frozen=True)
class ModelParts:
    """The modules of one model that dropping hooks into, and what kind of decoder it has.

    Attributes:
        decoder: module that calls the decoder layers in turn.
        layers: the decoder layers.
        vlm_module: module that is given `input_ids` with placeholders (the model without its head); None for text
            models.
        vision_ids: token ids of the placeholders of images and videos; empty for text models.
        lm_head: language-model head; None if the model has none.
        vision_tower: CLIP vision tower; None if the model has another tower or none.
        projector: module that turns the tower's features into the decoder's; None without a CLIP tower.
        vision_feature_layer: layer of the tower, from 0, that gives the features.
        sliding_windows: for each decoder layer, the number of columns it looks back, itself included; None: all.
        mrope: whether position ids have three axes, time, height and width (M-RoPE).
        deepstack: whether the decoder adds image features to the output of its first layers.
        attention_operators: supported attention operators (`Family.attention_operators`).
    """

    decoder: nn.Module
    layers: nn.ModuleList
    vlm_module: nn.Module | None
    vision_ids: tuple[int, ...]
    lm_head: nn.Module | None
    vision_tower: nn.Module | None
    projector: nn.Module | None
    vision_feature_layer: int
    sliding_windows: tuple[int | None, ...]
    mrope: bool
    deepstack: bool
    attention_operators: tuple[str, ...]


def locate(model: nn.Module) -> ModelParts:
    """Find the modules of a supported model.

    Args:
        model: model with its language-model head, as transformers loads it.

    Raises:
        ValueError: the model is not a module, is wrapped in another object, is compiled, is of an unsupported family,
            has layers of an unknown kind or more than its configuration says, or lacks the language-model head.
    """
    family = _family(model)
    try:
        decoder = model.get_submodule(family.decoder)
        layers = decoder.get_submodule("layers")
        vlm_module = model.get_submodule(family.vlm_module) if family.vlm_module else None
    except AttributeError as error:
        raise ValueError(
            f"{type(model).__name__} has no {family.decoder}.layers; pass the model with its language-model head, "
            "as AutoModelForImageTextToText or AutoModelForCausalLM load it."
        ) from error
    _check_depth(decoder, len(layers))
    tower, projector, feature_layer = _clip_tower(model, family)
    windows = window_per_layer(decoder)
    return ModelParts(
        decoder=decoder,
        layers=layers,
        vlm_module=vlm_module,
        vision_ids=tuple(getattr(model.config, name) for name in family.placeholders) if vlm_module is not None else (),
        lm_head=model.get_output_embeddings(),
        vision_tower=tower,
        projector=projector,
        vision_feature_layer=feature_layer,
        sliding_windows=windows,
        mrope=uses_mrope(decoder),
        deepstack=uses_deepstack(decoder),
        attention_operators=WITHOUT_FLASH if any(windows) else family.attention_operators,
    )


def _family(model: nn.Module) -> Family:
    """The family of a model that is neither wrapped, compiled nor of another kind."""
    if not is_whole(model) and (path := path_to_model(model)):
        raise ValueError(
            f"a model must be as transformers loads it; got x, a {type(model).__name__} that holds it: pass x{path}."
        )
    if not isinstance(model, nn.Module):
        raise ValueError(f"a model must be as transformers loads it (loaded.model); got {type(model).__name__}.")
    check_not_compiled(model)
    name = getattr(getattr(model, "config", None), "model_type", None)
    if name in CROSS_ATTENTION:
        raise ValueError(
            f"{type(model).__name__} cannot drop vision tokens: they are not part of its sequence, and its layers read "
            f"them by cross-attention. Allowed: {', '.join(FAMILIES)}."
        )
    if name not in FAMILIES:
        raise ValueError(
            f"{type(model).__name__} (model_type {name!r}) is not supported; allowed: {', '.join(FAMILIES)}. "
            "v2drop/models/families.py says how to add a family."
        )
    return FAMILIES[name]


def _check_depth(decoder: nn.Module, n_layers: int) -> None:
    """Refuse a decoder that would not run all its layers: drops at the others would not happen."""
    n_run = getattr(decoder.config, "num_hidden_layers", n_layers)
    if n_layers and n_run < n_layers:
        raise ValueError(
            f"the decoder has {n_layers} layers, and its configuration says that {n_run} of them run "
            "(num_hidden_layers); remove the others from the decoder's `layers` too."
        )


def is_vision(ids: Tensor, vision_ids: tuple[int, ...]) -> Tensor:
    """Flags of the ids that are placeholders of images or videos, in the shape of `ids`."""
    return sum((ids == vision for vision in vision_ids), torch.zeros_like(ids, dtype=torch.bool))


def _clip_tower(model: nn.Module, family: Family) -> tuple[nn.Module | None, nn.Module | None, int]:
    """CLIP tower, projector and feature layer; (None, None, 0) unless the model uses one layer of a CLIP tower."""
    tower = model.get_submodule(family.vision_tower) if family.vision_tower else None
    number = getattr(model.config, "vision_feature_layer", None)
    if getattr(tower, "config", None) is None or tower.config.model_type != "clip_vision_model":
        return None, None, 0
    if not isinstance(number, int) or number == 0 or model.config.vision_feature_select_strategy != "default":
        return None, None, 0
    # hidden_states[0] enters the first layer, hidden_states[i] is the output of layer i - 1.
    layer = number - 1 if number > 0 else tower.config.num_hidden_layers + number
    return tower, model.get_submodule(family.projector), layer
