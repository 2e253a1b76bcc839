"""The masked-attention oracle: a plain model in which nobody later may attend to a dropped token.

Independent of v2drop: nothing is gathered, every layer runs on the full sequence, and a 4-D mask written by plain loops
says per layer who may attend to whom. A token dropped at layer l is invisible to all other tokens from layer l on.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from v2drop.contract.masks import Kept, closed_up, masks, together_of, windows_of
from v2drop.contract.toys import Batch


def positions_of(model: nn.Module, data: Batch, steps: int) -> Tensor:
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


def oracle_logits(
    model: nn.Module,
    inputs: dict[str, Tensor],
    positions: Tensor,
    layer_masks: list[Tensor],
    ids: list[Tensor] | None = None,
) -> Float[Tensor, "batch length vocabulary"]:
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


def decoder_of(model: nn.Module) -> nn.Module:
    """The module with the decoder layers."""
    names = [name for name in ("language_model", "text_model") if hasattr(model.model, name)]
    return getattr(model.model, names[0]) if names else model.model


def grown(tensor: Tensor, columns: Tensor) -> Tensor:
    """`tensor` with columns appended, in its dtype."""
    return torch.cat([tensor, columns.to(tensor.dtype)], 1)


def oracle_run(
    model: nn.Module,
    data: Batch,
    kept: Kept,
    tokens: Int[Tensor, "batch steps"],
    n_layers: int,
    positions: str | tuple[int, ...] = "keep",
    there: Tensor | None = None,
) -> Float[Tensor, "batch columns vocabulary"]:
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


def run_with_cache(model: nn.Module, data: Batch, tokens: Tensor) -> Tensor:
    """Prefill, then one token at a time: logits at every row's last prompt token and at each step."""
    out = model(**data.inputs, position_ids=data.positions)
    last = torch.stack([out.logits[row, column] for row, column in enumerate(data.last)])
    steps, cache, present = [last], out.past_key_values, data.inputs["attention_mask"]
    for i in range(tokens.shape[1]):
        present = torch.cat([present, torch.ones_like(present[:, :1])], 1)
        positions = data.present.sum(1, keepdim=True) + i
        out = model(
            input_ids=tokens[:, i : i + 1],
            attention_mask=present,
            position_ids=positions,
            past_key_values=cache,
        )
        steps.append(out.logits[:, -1])
    return torch.stack(steps, 1)
