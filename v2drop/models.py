"""Where each Hugging Face family keeps its decoder layers and its vision tokens: one entry each.

To add a family, add an entry to FAMILIES under its `config.model_type`. What is assumed of a family: its decoder is a
module with `layers`, called in turn on hidden states of [batch, length, dim], each given `attention_mask`,
`position_ids` and `position_embeddings` by keyword.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Family:
    """Paths from the model a user holds.

    Attributes:
        decoder: to the module with `layers`.
        receiver: to the module that is given `input_ids` with image placeholders; empty for text models, whose
            vision tokens the user names with `vision_mask`.
        placeholder: the attribute of the config that holds the placeholder's token id.
        tower: to a CLIP vision tower with a class token; empty if there is none.
        projector: to the module that turns the tower's features into the decoder's.
    """

    decoder: str
    receiver: str = ""
    placeholder: str = "image_token_id"
    tower: str = ""
    projector: str = ""


FAMILIES: dict[str, Family] = {
    "llava": Family(
        "model.language_model",
        receiver="model",
        tower="model.vision_tower",
        projector="model.multi_modal_projector",
    ),
    "llama": Family("model"),
    "qwen2": Family("model"),
}


TEXT_MODELS = ("llama", "qwen2", "mistral")  # decoders known to call their layers so, alone or inside a family


@dataclass(frozen=True)
class Parts:
    """The modules of one model that dropping hooks into.

    Attributes:
        decoder: calls the layers in turn.
        layers: the decoder layers.
        receiver: is given `input_ids`; None for text models.
        image_token_id: of the image placeholder; None for text models.
        head: gives logits; None if the model has none.
        tower, projector: of the pictures; None for text models.
        feature_layer: which layer of the tower, from 0, gives the features.
    """

    decoder: nn.Module
    layers: nn.ModuleList
    receiver: nn.Module | None
    image_token_id: int | None
    head: nn.Module | None
    tower: nn.Module | None = None
    projector: nn.Module | None = None
    feature_layer: int = 0


def locate(model: nn.Module) -> Parts:
    """Find the parts of a supported model.

    Raises:
        ValueError: the model is compiled, of an unsupported family, has layers that are not full attention, or is not
            the class with the language-model head.
    """
    if hasattr(model, "_orig_mod"):
        raise ValueError("a compiled model cannot be hooked; pass the model as it was before torch.compile.")
    name = getattr(getattr(model, "config", None), "model_type", None)
    if name not in FAMILIES:
        raise ValueError(
            f"{type(model).__name__} (model_type {name!r}) is not supported; allowed: {', '.join(FAMILIES)}. "
            "v2drop/models.py says how to add a family."
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
    _check_layers(decoder)
    token = getattr(model.config, family.placeholder) if family.receiver else None
    return Parts(decoder, layers, receiver, token, model.get_output_embeddings(), *_pictures(model, family))


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


def _check_layers(decoder: nn.Module) -> None:
    config = decoder.config
    if config.model_type not in TEXT_MODELS:
        raise ValueError(
            f"a decoder of type {config.model_type!r} is not supported; allowed: {', '.join(TEXT_MODELS)}."
        )
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"]) - {"full_attention"}
    if kinds or getattr(config, "sliding_window", None):
        raise ValueError(
            f"layers of full attention are needed; got {', '.join(sorted(kinds)) or 'sliding_attention'}: a window "
            "would count positions that are no longer there. Load the model with sliding_window=None."
        )
