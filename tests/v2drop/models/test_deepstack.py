"""Features of pictures that are added between layers."""

import torch

from v2drop.models.deepstack import Deepstack


def test_features_go_by_places_and_a_token_of_no_place_gets_none():
    vision = torch.tensor([[True, True, False], [True, False, True]])
    stack = Deepstack(vision, [torch.arange(1.0, 5.0)[:, None]])
    position = torch.tensor([[-1, 1, 2], [2, -1, 0]])
    assert stack.add_to(0, torch.zeros(2, 3, 1), position)[..., 0].tolist() == [[0, 2, 0], [4, 0, 3]]
    states = vision[..., None].float()
    assert torch.equal(stack.add_to(1, states, position), states)
