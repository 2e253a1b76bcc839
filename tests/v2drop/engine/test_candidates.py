"""What a method is shown at a drop: flags of columns that are there, and of no others."""

from dataclasses import dataclass, field

import pytest
import torch

from tests.support.fitted_methods import fitted, skip_unless_possible
from v2drop import METHODS, Method, Schedule
from v2drop.contract.toys import LAYERS, batch, toy

ROWS = ["tvvvvvvttt", "vvvvtt", "tvvvvvvvvvvvvtt", "ttttt"]


@dataclass(frozen=True)
class Onlooker(Method):
    """Keeps the first tokens and remembers what it saw; notes every column."""

    seen: list = field(default_factory=list)

    def annotate(self, states, vision, text_after):
        return torch.ones_like(vision)

    def score(self, candidates):
        self.seen.append(candidates)
        return -candidates.vision_index.float()


def test_holes_and_padding_are_neither_noted_nor_text_nor_visible():
    for side in ("left", "right"):
        data, onlooker = batch("llama", ROWS, side), Onlooker(Schedule({1: 4, 3: 2}))
        with onlooker(toy("llama"), **data.options):
            toy("llama")(**data.inputs, position_ids=data.positions)
        first, second = (candidates.sequence for candidates in onlooker.seen)
        length, texts = data.vision.shape[1], (data.present & ~data.vision).sum(1)
        assert first.visible.sum(1).tolist() == data.present.sum(1).tolist()
        assert second.visible.sum(1).tolist() == (texts + torch.tensor([4, 4, 4, 0])).tolist()
        for sequence in (first, second):
            assert not (sequence.text_after & ~sequence.visible).any()
            assert sequence.visible.gather(1, sequence.last).all()
        assert first.annotation.all() and first.annotation.shape[1] == length
        # Padding goes at the first drop, but for the last column; a hole is no column, whatever it repeats.
        last = 0 if side == "left" else 1
        padded = [last if n < length else 0 for n in data.present.sum(1).tolist()]
        assert (second.annotation.sum(1) - second.visible.sum(1)).tolist() == padded


def test_candidates_stand_where_they_are_said_to_stand():
    data, onlooker = batch("llama", ROWS), Onlooker(Schedule({1: 4, 3: 2}))
    with onlooker(toy("llama"), **data.options) as trace:
        toy("llama")(**data.inputs, position_ids=data.positions)
    for layer, candidates in zip((1, 3), onlooker.seen, strict=True):
        sequence = candidates.sequence
        there = sequence.states.gather(1, sequence.columns[..., None].expand_as(candidates.hidden))
        assert torch.equal(there[candidates.valid], candidates.hidden[candidates.valid])
        assert torch.equal(sequence.position.masked_fill(~candidates.valid, -1), trace.candidates[layer])
        assert candidates.n_keep == [2 if layer == 3 else 4] * 3 + [0]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("family", ["llama", "llava"])
def test_a_row_of_padding_alone_loses_nothing_and_changes_no_other_row(name, family):
    skip_unless_possible(name, family)
    rows = {"llama": ["tvvvvvvttt", "tvvvvtt"], "llava": ["titttt", "titt"]}[family]
    data, model, kept = batch(family, rows), toy(family), []
    for padded in (False, True):
        if padded:
            data.inputs["attention_mask"] = data.inputs["attention_mask"] * torch.tensor([[1], [0]])
        with fitted(name, {1: 0.5, 3: 0.25})(model, **data.options) as trace:
            logits = model(**data.inputs).logits[0, -1]
        # -1 is padding, or a new token of VisionZip's.
        kept.append(({layer: [i for i in x[0].tolist() if i >= 0] for layer, x in trace.kept.items()}, logits))
    assert all(trace.vision_tokens[layer][1] == 0 for layer in range(LAYERS))
    assert kept[0][0] == kept[1][0]
    torch.testing.assert_close(kept[0][1], kept[1][1], atol=1e-5, rtol=1e-5)
