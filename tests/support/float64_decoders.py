"""Tiny decoders in float64 throughout, under the name of a supported family: the real ones round to float32 inside."""

from types import SimpleNamespace

import torch
from torch import nn

VOCABULARY = 11
MIXED = 8.0  # by this a linear layer divides what it sums up


class Smooth(nn.Module):
    """Softmax attention with two heads and a tanh network, both behind a LayerNorm."""

    norm = nn.LayerNorm

    def __init__(self, index, dim):
        super().__init__()
        self.index = index
        self.query, self.key, self.value, self.out, self.up, self.down = (nn.Linear(dim, dim, False) for _ in range(6))
        self.before, self.between = self.norm(dim), self.norm(dim)

    def forward(self, states, attention_mask, position_embeddings=None, past_key_values=None):
        seen = self.before(states)
        query, keys, values = (x(seen).unflatten(-1, (2, -1)).transpose(1, 2) for x in self._projections())
        if past_key_values is not None:
            keys, values = past_key_values.update(keys, values, self.index)
        mixed = self.weights(query @ keys.mT, attention_mask) @ values
        states = states + self.out(mixed.transpose(1, 2).flatten(2))
        return states + self.down(self.bend(self.up(self.between(states))))

    def _projections(self):
        return self.query, self.key, self.value

    def weights(self, scores, mask):
        return (scores + mask).softmax(-1)

    def bend(self, x):
        return x.tanh()


class Linear(Smooth):
    """Its output is a linear function of its input: sums of values, no bias, no norm."""

    norm = nn.Identity

    def weights(self, scores, mask):
        return mask.exp() / MIXED

    def bend(self, x):
        return x


class Kinked(Linear):
    """Piecewise linear; `up` has a bias, zero at first, that puts the kinks where a test wants them."""

    def __init__(self, index, dim):
        super().__init__(index, dim)
        self.up.bias = nn.Parameter(torch.zeros(dim))

    def bend(self, x):
        return x.abs()


KINDS = {"smooth": Smooth, "linear": Linear, "kinked": Kinked}


class Decoder(nn.Module):
    """What `v2drop.models.parts.locate` looks for in a text model. `scale` multiplies what enters the layers."""

    scale = 1.0

    def __init__(self, kind, layers, dim):
        super().__init__()
        self.config = SimpleNamespace(model_type="llama", num_hidden_layers=layers, _attn_implementation="eager")
        self.embed = nn.Embedding(VOCABULARY, dim)
        self.layers = nn.ModuleList(KINDS[kind](index, dim) for index in range(layers))
        self.norm = KINDS[kind].norm(dim)

    def forward(self, ids, present):
        allowed = present.bool()[:, None, None, :] & torch.ones(2 * ids.shape[1:]).bool().tril()
        mask = torch.zeros(allowed.shape).double().masked_fill(~allowed, torch.finfo(torch.float64).min)
        place = present.cumsum(1)[..., None]
        places = (place * torch.arange(1, 1 + self.embed.embedding_dim)).sin() / 2
        states = self.scale * (self.embed(ids) + places)
        for layer in self.layers:
            states = layer(states, attention_mask=mask, position_embeddings=None, past_key_values=None)
        return self.norm(states)


class Model(nn.Module):
    def __init__(self, kind, layers, dim):
        super().__init__()
        self.model = Decoder(kind, layers, dim)
        self.config = self.model.config
        self.head = nn.Linear(dim, VOCABULARY, False)

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, attention_mask=None, use_cache=False):
        present = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return SimpleNamespace(logits=self.head(self.model(input_ids, present)))


def decoder(kind="smooth", layers=4, dim=6, seed=0):
    """A text model of even `dim`; its weights and those of another kind with this seed are the same."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Model(kind, layers, dim).double().eval().requires_grad_(False)


def prompt(rows=1, length=7, seed=0):
    """What to call it with: rows without padding."""
    return {"input_ids": torch.randint(VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))}
