"""Jacobians and interventions the slow way: whole sequences through the model's own layers, nothing remembered."""

from copy import deepcopy

import torch
from torch import Tensor
from torch.func import jacrev

from analysis.residual_stream.frozen_decoder import FrozenDecoder
from analysis.residual_stream.measured_tokens import measured_prompts
from v2drop.contract.toys import IMAGE_TOKENS


def alone(data, row):
    """The inputs of one row of a batch of toys without its padding."""
    there = data.present[row]
    inputs = {key: data.inputs[key][row : row + 1, there] for key in ("input_ids", "attention_mask")}
    if "pixel_values" in data.inputs:
        before, own = (int(data.vision[rows].sum()) // IMAGE_TOKENS for rows in (slice(0, row), row))
        inputs["pixel_values"] = data.inputs["pixel_values"][before : before + own]
    return inputs


def streams(model, inputs, tokens=(0,), dtype=torch.float64, output="hidden"):
    """The streams of a batch, as the measuring functions make them."""
    return [
        stream for _, stream, _ in measured_prompts(FrozenDecoder(model, dtype, output), model, inputs, list(tokens))
    ]


class Dense:
    """One prompt without padding, in eager attention and `dtype`: a plain function from the states of any layer."""

    def __init__(self, model, inputs, dtype=torch.float64, mask=None):
        self.model = deepcopy(model).to(dtype)
        self.decoder = getattr(self.model.model, "language_model", self.model.model)
        self.decoder.config._attn_implementation = "eager"
        states, angles = self._first(inputs)
        self.angles = angles
        self.length = states.shape[1]
        allowed = torch.ones(self.length, self.length).bool().tril() if mask is None else mask
        self.mask = torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)[None, None]
        self.states = [states]
        for layer in self.decoder.layers:
            self.states.append(self.run(layer, self.states[-1]))

    @torch.no_grad()
    def _first(self, inputs):
        seen = []
        look = self.decoder.layers[0].register_forward_pre_hook(
            lambda _, args, kwargs: seen.append((args[0], kwargs["position_embeddings"])), with_kwargs=True
        )
        floats = {key: x.to(self.dtype) if x.is_floating_point() else x for key, x in inputs.items()}
        self.model(**floats, use_cache=False)
        look.remove()
        return seen[0]

    @property
    def dtype(self):
        return next(self.model.parameters()).dtype

    def run(self, layer, states, mask=None):
        out = layer(states, attention_mask=self.mask if mask is None else mask, position_embeddings=self.angles)
        return out[0] if isinstance(out, tuple) else out

    def onward(self, states, layer, mask=None):
        """Last-layer states at the last position, from the states that `layer` writes."""
        for later in self.decoder.layers[layer + 1 :]:
            states = self.run(later, states, mask)
        return states[:, -1]

    def read(self, states, output="hidden"):
        hidden = self.decoder.norm(states)
        return hidden if output == "hidden" else self.model.get_output_embeddings()(hidden)

    def jacobians(self, layer, output="hidden") -> Tensor:
        """[token, out, dim]."""

        def from_states(x):
            return self.read(self.onward(x[None], layer), output)[0]

        return jacrev(from_states)(self.states[layer + 1][0]).transpose(0, 1)

    def norms(self, layer, output="hidden"):
        return torch.linalg.svdvals(self.jacobians(layer, output))[:, 0]

    def reverted(self, layer, token, share=1.0):
        before, after = self.states[layer], self.states[layer + 1].clone()
        after[0, token] += share * (before - after)[0, token]
        return self.onward(after, layer)[0]

    def dropped(self, layer, token):
        """By a mask: nobody else may attend to the token from the next layer on."""
        mask = self.mask.clone()
        mask[..., token] = torch.finfo(mask.dtype).min
        mask[..., token, token] = 0
        return self.onward(self.states[layer + 1], layer, mask)[0]
