"""The masked-attention oracle: a plain model in which nobody later may attend to a dropped token.

Independent of v2drop: nothing is gathered, every layer runs on the full sequence, and a 4-D mask written by plain loops
says per layer who may attend to whom. A token dropped at layer l is invisible to all other tokens from layer l on.
"""

import torch
from torch import Tensor


def masks(present: Tensor, kept: dict[int, Tensor], vision: Tensor, n_layers: int) -> list[Tensor]:
    """One boolean mask [batch, 1, length, length] per layer; `kept` as in a trace."""
    batch, length = present.shape
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    visible = present[:, None, :] & causal  # [batch, query, key]
    result = []
    for layer in range(n_layers):
        if layer in kept:
            for row in range(batch):
                left = set(kept[layer][row].tolist())
                for column in vision[row].nonzero().flatten().tolist():
                    if column not in left:
                        visible[row, :, column] = False
                        visible[row, column, column] = True
        result.append(visible.clone()[:, None])
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
    decoder = getattr(model.model, "language_model", model.model)
    handles = []
    for number, (layer, mask) in enumerate(zip(decoder.layers, layer_masks, strict=True)):
        bias = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
        if decoder.config._attn_implementation == "sdpa":
            bias = mask

        own = {}
        if ids is not None:
            own = {"position_embeddings": decoder.rotary_emb(torch.zeros(1), ids[number])}

        def put(module, args, kwargs, bias=bias, own=own):
            return args, kwargs | {"attention_mask": bias} | own

        handles.append(layer.register_forward_pre_hook(put, with_kwargs=True))
    try:
        return model(**inputs, position_ids=positions, use_cache=False).logits
    finally:
        for handle in handles:
            handle.remove()


def grown(tensor: Tensor, columns: Tensor) -> Tensor:
    """`tensor` with columns appended, in its dtype."""
    return torch.cat([tensor, columns.to(tensor.dtype)], 1)


def oracle_run(model, data, kept: dict[int, Tensor], tokens: Tensor, n_layers: int, positions: str = "keep") -> Tensor:
    """Logits of the prompt followed by `tokens` [batch, steps], [batch, length + steps, vocabulary].

    The tokens follow the prompt's last column, at the positions after the row's last one, as in generation.
    """
    steps = tokens.shape[1]
    present = grown(data.present, torch.ones_like(tokens))
    vision = grown(data.vision, torch.zeros_like(tokens))
    after = data.present.sum(1, keepdim=True) + torch.arange(steps)
    inputs = data.inputs | {
        "input_ids": grown(data.inputs["input_ids"], tokens),
        "attention_mask": present.long(),
    }
    # A row's last prompt token is never dropped: its output is the next token.
    for row, last in enumerate(data.last):
        vision[row, last] = False
    ids = closed_up(present, kept, vision, n_layers) if positions == "repack" else None
    return oracle_logits(model, inputs, grown(data.positions, after), masks(present, kept, vision, n_layers), ids)
