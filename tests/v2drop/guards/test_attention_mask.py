"""An attention mask of another shape than the prompt is refused: it would cut rows off, or shift them."""

import pytest
import torch

from v2drop import Random, Schedule
from v2drop.contract.toys import batch, toy


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("family", ["llava", "llama"])
@pytest.mark.parametrize(("rows", "columns"), [(1, 0), (2, 2), (2, -2), (3, 0)])
def test_a_mask_of_another_shape_is_refused(rows, columns, family, layer):
    """A single row for two gave one row of logits."""
    model, data = toy(family), batch(family, ["titttt", "titt"] if family == "llava" else ["tvvvvtt", "tvvttt"])
    length = data.present.shape[1]
    wrong = torch.ones(rows, length + columns, dtype=torch.long)
    with Random(Schedule({layer: 2}))(model, **data.options) as trace:
        with pytest.raises(
            ValueError, match=rf"attention_mask must be \[2, {length}\], as the prompt is; got \[{rows}"
        ):
            model(**data.inputs | {"attention_mask": wrong})
        for dtype in (torch.long, torch.bool, torch.float32, torch.int8):  # of any type
            model(**data.inputs | {"attention_mask": data.inputs["attention_mask"].to(dtype)})
            assert trace.kept[layer].shape == (2, 2)
