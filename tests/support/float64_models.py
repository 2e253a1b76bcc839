"""A Llama decoder and a CLIP tower written out in float64, one sequence at a time, dense attention by plain products.

For methods' references: nothing of v2drop or of transformers' forward code is used, only weights and configs.
"""

import torch
from torch import Tensor

F64 = torch.float64


def linear(x: Tensor, module) -> Tensor:
    bias = 0 if module.bias is None else module.bias.to(F64)
    return x @ module.weight.to(F64).T + bias


def rms(x: Tensor, module) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + module.variance_epsilon).sqrt() * module.weight.to(F64)


def standardised(x: Tensor, module) -> Tensor:
    deviation = (x.var(-1, unbiased=False, keepdim=True) + module.eps).sqrt()
    return (x - x.mean(-1, keepdim=True)) / deviation * module.weight.to(F64) + module.bias.to(F64)


def rotated(x: Tensor, ids: Tensor, theta: float = 10000.0) -> Tensor:
    """Rotate [n, heads, dim] pairs (k, k + dim/2) by the angle id * theta^(-2k/dim)."""
    half = x.shape[-1] // 2
    angle = ids.to(F64)[:, None, None] * theta ** (-torch.arange(half, dtype=F64) / half)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()], -1)


def queries_keys(layer, x: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Rotated queries and keys [n, heads, dim] of a decoder layer given x [n, width]."""
    attention, normed = layer.self_attn, rms(x, layer.input_layernorm)
    dim = attention.head_dim
    return tuple(rotated(linear(normed, p).unflatten(-1, (-1, dim)), ids) for p in (attention.q_proj, attention.k_proj))


def attention_map(queries: Tensor, keys: Tensor, unseen: Tensor | bool = False) -> Tensor:
    """Causal attention weights [heads, n, n]; `unseen` [query, key] flags pairs that do not attend either."""
    heads, dim = queries.shape[1:]
    keys = keys.repeat_interleave(heads // keys.shape[1], 1)
    logits = torch.einsum("qhd,khd->hqk", queries, keys) / dim**0.5
    n = logits.shape[-1]
    future = ~torch.ones(n, n, dtype=torch.bool).tril()
    return logits.masked_fill(future | unseen, -torch.inf).softmax(-1)


def decoder_layer(layer, x: Tensor, ids: Tensor, unseen: Tensor | bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Output [n, width], attention map [heads, n, n] and rotated keys [n, heads, dim] of one decoder layer."""
    queries, keys = queries_keys(layer, x, ids)
    weights, attention = attention_map(queries, keys, unseen), layer.self_attn
    values = linear(rms(x, layer.input_layernorm), attention.v_proj).unflatten(-1, (-1, attention.head_dim))
    values = values.repeat_interleave(queries.shape[1] // values.shape[1], 1)
    x = x + linear(torch.einsum("hqk,khd->qhd", weights, values).flatten(1), attention.o_proj)
    normed, mlp = rms(x, layer.post_attention_layernorm), layer.mlp
    gate = linear(normed, mlp.gate_proj)
    return x + linear(gate * gate.sigmoid() * linear(normed, mlp.up_proj), mlp.down_proj), weights, keys


def logits(model, x: Tensor) -> Tensor:
    """What the head says of the decoder's output [n, width]."""
    decoder = getattr(model.model, "language_model", model.model)
    return linear(rms(x, decoder.norm), model.get_output_embeddings())


def tower_layer(layer, x: Tensor, bias: Tensor | float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    """One CLIP layer up to its MLP: state [n, width] after attention, weights [heads, n, n], keys [n, heads, dim]."""
    attention, normed = layer.self_attn, standardised(x, layer.layer_norm1)
    heads, dim = attention.num_heads, attention.head_dim
    queries, keys, values = (
        linear(normed, p).reshape(-1, heads, dim) for p in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    weights = (torch.einsum("qhd,khd->hqk", queries, keys) / dim**0.5 + bias).softmax(-1)
    mixed = torch.einsum("hqk,khd->qhd", weights, values).flatten(1)
    return x + linear(mixed, attention.out_proj), weights, keys


def tower_mlp(layer, x: Tensor) -> Tensor:
    """The rest of the layer."""
    hidden = linear(standardised(x, layer.layer_norm2), layer.mlp.fc1)
    return x + linear(hidden * (1.702 * hidden).sigmoid(), layer.mlp.fc2)


def tower_embeddings(tower, picture: Tensor) -> Tensor:
    """What enters the tower's first layer, [1 + patches, width], class token first; picture [channels, side, side]."""
    embeddings, size = tower.embeddings, tower.config.patch_size
    patches = (
        picture.to(F64).unfold(1, size, size).unfold(2, size, size).permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)
    )
    patches = patches @ embeddings.patch_embedding.weight.to(F64).flatten(1).T
    x = torch.cat([embeddings.class_embedding.to(F64)[None], patches]) + embeddings.position_embedding.weight.to(F64)
    return standardised(x, tower.pre_layrnorm)


def projected(model, features: Tensor) -> Tensor:
    """What the projector makes of features [n, width]."""
    projector = model.model.multi_modal_projector
    hidden = linear(features, projector.linear_1)
    return linear(torch.nn.functional.gelu(hidden), projector.linear_2)
