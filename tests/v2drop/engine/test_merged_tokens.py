"""Tokens made of several: gradients flow through them, and nothing of them stays in the trace."""

import pytest
import torch

from tests.support.fitted_methods import fitted
from v2drop import METHODS
from v2drop.contract.toys import FAMILIES, batch

MAKERS = [name for name, kind in METHODS.items() if kind.merges_tokens]


@pytest.mark.parametrize("name", MAKERS)
def test_gradients_through_made_tokens_are_finite_differences(name):
    torch.manual_seed(0)
    model, data = FAMILIES["llava"]().eval().double(), batch("llava", ["titttt"])
    pixels = data.inputs["pixel_values"].double().requires_grad_()
    inputs, method = data.inputs | {"pixel_values": pixels}, fitted(name, {1: 0.5, 3: 0.3})
    with method(model) as trace:
        score = model(**inputs).logits[0, -1].square().sum()
        (gradient,) = torch.autograd.grad(score, pixels)
        # Methods take means in float32, whose rounding a smaller step would show.
        direction, step = torch.randn_like(pixels), 1e-4
        moved = []
        for sign in (1, -1):
            changed = inputs | {"pixel_values": pixels.detach() + sign * step * direction}
            moved.append(model(**changed).logits[0, -1].square().sum())
    slope = float((moved[0] - moved[1]).detach() / (2 * step))
    assert float((gradient * direction).sum().detach()) == pytest.approx(slope, rel=0.05) and slope != 0
    assert all(drop.selection.states is None for drop in trace._drops.values())
