"""The masked-attention oracle: a plain model in which nobody later may attend to a dropped token.

Independent of v2drop: nothing is gathered, every layer runs on the full sequence, and a 4-D mask written by plain loops
says per layer who may attend to whom. A token dropped at layer l is invisible to all other tokens from layer l on.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Together:
    """Columns that see each other both ways.

    Attributes:
        groups: int [batch, length]: columns of one number; -1 is in no group.
        within_window: whether a layer's sliding window cuts a group too.
    """

    groups: Tensor
    within_window: bool


def undropped(present: Tensor, window: int | None = None, together: Together | None = None) -> Tensor:
    """Who may attend to whom with nothing dropped, [batch, query, key]: the definition of a layer's attention."""
    query, key = torch.arange(present.shape[1])[:, None], torch.arange(present.shape[1])
    near = query - key < (window or present.shape[1])  # by columns: a key ahead of the query is never too far
    seen = (key <= query) & near
    if together is not None:
        groups = together.groups
        both_ways = (groups[:, :, None] == groups[:, None, :]) & (groups[:, :, None] >= 0)
        seen = seen | (both_ways & near if together.within_window else both_ways)
    return seen & present[:, None, :]


def windows_of(config) -> list[int | None]:
    """The sliding window of each decoder layer, None for full attention, from the decoder's config."""
    window, count = getattr(config, "sliding_window", None), config.num_hidden_layers
    kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * count
    return [window if kind == "sliding_attention" else None for kind in kinds]


def together_of(model, data, steps: int) -> Together | None:
    """Gemma 3's pictures see themselves both ways, PaliGemma's whole prompt does; generated tokens never."""
    groups = torch.full((len(data.vision), data.vision.shape[1] + steps), -1)
    if model.config.model_type == "paligemma":
        # transformers adds the prefix to what a layer's window shows (PaliGemma 2): the window does not cut it.
        groups[:, : data.vision.shape[1]] = 0
        return Together(groups, within_window=False)
    if model.config.model_type != "gemma3":
        return None
    for row in range(len(groups)):
        picture = -1
        for column, vision in enumerate(data.vision[row].tolist()):
            if vision:
                picture += column == 0 or not data.vision[row, column - 1]
                groups[row, column] = picture
    return Together(groups, within_window=True)


def positions_of(model, data, steps: int) -> Tensor:
    """Position ids of the prompt as the model makes them, then on from each row's last token, axis by axis.

    [batch, length + steps], or [3, batch, length + steps] for M-RoPE. On from the last token is what `generate` does.
    """
    grids = {key: value for key, value in data.inputs.items() if key in GRIDS}
    ids = data.positions
    if {"image_grid_thw", "video_grid_thw"} & set(grids):
        attention = {"attention_mask": data.inputs["attention_mask"]}
        ids, _ = model.model.get_rope_index(data.inputs["input_ids"], **grids, **attention)
    last = torch.stack([ids[..., row, column] for row, column in enumerate(data.last)], -1)
    return torch.cat([ids, last[..., None] + 1 + torch.arange(steps)], -1)


GRIDS = ("mm_token_type_ids", "image_grid_thw", "video_grid_thw", "second_per_grid_ts")
TOKEN_TYPES = ("mm_token_type_ids", "token_type_ids")  # say positions and masks, which the oracle makes itself


def masks(
    present: Tensor,
    kept: dict[int, Tensor],
    vision: Tensor,
    n_layers: int,
    windows: list[int | None] | None = None,
    together: Together | None = None,
) -> list[Tensor]:
    """One boolean mask [batch, 1, length, length] per layer; `kept` as in a trace, `windows` one per layer."""
    gone = torch.zeros_like(vision)
    itself = torch.eye(present.shape[1], dtype=torch.bool)
    result = []
    for layer in range(n_layers):
        if layer in kept:
            for row in range(len(gone)):
                left = set(kept[layer][row].tolist())
                for column in vision[row].nonzero().flatten().tolist():
                    gone[row, column] |= column not in left
        visible = undropped(present, windows and windows[layer], together)
        visible = visible & ~gone[:, None, :] | itself & gone[:, None, :]
        result.append(visible[:, None])
    return result


def closed_up(present: Tensor, kept: dict[int, Tensor], vision: Tensor, n_layers: int) -> list[Tensor]:
    """Position ids [batch, length] per layer, counted over the tokens that are still there; of others, anything."""
    there = present.clone()
    result = []
    for layer in range(n_layers):
        if layer in kept:
            for row in range(len(there)):
                left = set(kept[layer][row].tolist())
                for column in vision[row].nonzero().flatten().tolist():
                    there[row, column] &= column in left
        result.append((there.cumsum(1) - 1).clamp(min=0))
    return result


def oracle_logits(
    model, inputs: dict[str, Tensor], positions: Tensor, layer_masks: list[Tensor], ids: list[Tensor] | None = None
) -> Tensor:
    """Logits [batch, length, vocabulary] of the plain model under these masks (and position ids), without a cache."""
    decoder = decoder_of(model)
    handles = []
    for number, (layer, mask) in enumerate(zip(decoder.layers, layer_masks, strict=True)):
        bias = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
        if decoder.config._attn_implementation == "sdpa":
            bias = mask

        own = {}
        if ids is not None:
            kind = [decoder.config.layer_types[number]] if decoder.config.model_type == "gemma3_text" else []
            own = {"position_embeddings": decoder.rotary_emb(torch.zeros(1), ids[number], *kind)}

        def put(module, args, kwargs, bias=bias, own=own):
            return args, kwargs | {"attention_mask": bias} | own

        handles.append(layer.register_forward_pre_hook(put, with_kwargs=True))
    try:
        return model(**inputs, position_ids=positions, use_cache=False).logits
    finally:
        for handle in handles:
            handle.remove()


def decoder_of(model):
    """The module with the decoder layers."""
    names = [name for name in ("language_model", "text_model") if hasattr(model.model, name)]
    return getattr(model.model, names[0]) if names else model.model


def grown(tensor: Tensor, columns: Tensor) -> Tensor:
    """`tensor` with columns appended, in its dtype."""
    return torch.cat([tensor, columns.to(tensor.dtype)], 1)


def oracle_run(
    model,
    data,
    kept: dict[int, Tensor],
    tokens: Tensor,
    n_layers: int,
    positions: str | tuple[int, ...] = "keep",
    there=None,
) -> Tensor:
    """Logits of the prompt followed by `tokens` [batch, steps], [batch, length + steps, vocabulary].

    The tokens follow the prompt's last column, at the positions after the row's last one, as in generation. Of them,
    only those flagged `there` are seen by others; all, if it is None. `positions`: "keep", "repack", or the layers that
    keep position ids while others repack them.
    """
    steps = tokens.shape[1]
    present = grown(data.present, torch.ones_like(tokens) if there is None else there)
    vision = grown(data.vision, torch.zeros_like(tokens))
    inputs = {key: value for key, value in data.inputs.items() if key not in TOKEN_TYPES} | {
        "input_ids": grown(data.inputs["input_ids"], tokens),
        "attention_mask": present.long(),
    }
    # A row's last prompt token is never dropped: its output is the next token.
    for row, last in enumerate(data.last):
        vision[row, last] = False
    callers, ids = positions_of(model, data, steps), None
    if positions != "keep":
        closed = closed_up(present, kept, vision, n_layers)
        keeping = () if positions == "repack" else positions
        ids = [callers if layer in keeping else closed[layer] for layer in range(n_layers)]
    windows = windows_of(decoder_of(model).config)
    visible = masks(present, kept, vision, n_layers, windows, together_of(model, data, steps))
    return oracle_logits(model, inputs, callers, visible, ids)
