"""A model for pictures of another size: more or fewer vision tokens from the same weights."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from v2drop.arguments import whole_number
from v2drop.models.parts import locate


def at_side(loaded: Loaded, side: int) -> Loaded:
    """The model and its processor for square pictures of another size.

    A CLIP tower has a position embedding for each patch of one picture size. Those of another size are made from them
    as the tower itself does when it is called with `interpolate_pos_encoding=True` (bicubic); all other weights are
    shared with the given model. The embedded model is trained for pictures of 72, 96 and 120 pixels in this way.

    Args:
        loaded: A LLaVA with a CLIP tower, and its processor.
        side: Width and height that the processor gives to pictures, in pixels; a multiple of the patch size.

    Returns:
        Another model and processor; the same ones if they are for this size already.

    Raises:
        ValueError: The model has no such tower, or `side` is not such a multiple.
    """
    check_loaded(loaded)
    if locate(loaded.model).vision_tower is None:
        raise ValueError(f"only a LLaVA with a CLIP tower can be set to another picture size; got {loaded.family!r}.")
    vision = loaded.model.config.vision_config
    if whole_number("side", side, 1) % vision.patch_size:
        raise ValueError(f"side must be a multiple of the patch size, {vision.patch_size} pixels; got {side}.")
    if side == vision.image_size:
        return loaded
    shared = {id(tensor): tensor for tensor in loaded.model.parameters()}
    model, processor = deepcopy(loaded.model, shared), deepcopy(loaded.processor)
    _set_tower(model, side)
    processor.image_processor.size = {"shortest_edge": side}
    processor.image_processor.crop_size = {"height": side, "width": side}
    return replace(loaded, model=model, processor=processor)


def _set_tower(model: Any, side: int) -> None:
    """Give a copied model's tower the positions of another picture size, in place."""
    (embeddings,) = (m for m in locate(model).vision_tower.modules() if hasattr(m, "interpolate_pos_encoding"))
    n = (side // embeddings.patch_size) ** 2
    with torch.no_grad():
        example = embeddings.position_embedding.weight.new_empty(1, n + 1, embeddings.embed_dim)
        positions = embeddings.interpolate_pos_encoding(example, side, side)[0]
    embeddings.position_embedding = nn.Embedding.from_pretrained(positions, freeze=True)
    embeddings.position_ids = torch.arange(n + 1, device=positions.device)[None]
    embeddings.image_size, embeddings.num_patches, embeddings.num_positions = side, n, n + 1
    model.config.vision_config.image_size, model.config.image_seq_length = side, n
