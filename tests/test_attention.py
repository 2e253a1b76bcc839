"""Attention of a few queries is those rows of the eager map, whatever the operator; the whole map is not needed."""

import pytest
import torch
from toys import LAYERS, batch, toy

from v2drop import METHODS, Schedule
from v2drop.attention import AttentionWatcher
from v2drop.models import locate

ROWS = {"llava": ["titttt", "ittittt", "tttt"], "llama": ["tvvvvvvttt", "vvvvtt"], "qwen2": ["tvvvvvvttt", "vvvvtt"]}


@pytest.mark.parametrize("family", ROWS)
@pytest.mark.parametrize("operator", ["eager", "sdpa"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_weights_are_rows_of_the_eager_map(family, operator, side):
    data, layer = batch(family, ROWS[family], side), 2
    maps = toy(family, "eager")(**data.inputs, position_ids=data.positions, output_attentions=True).attentions
    model, watcher = toy(family, operator), AttentionWatcher()
    handles = watcher.hooks(locate(model), (layer + 1,))
    model(**data.inputs, position_ids=data.positions)
    for handle in handles:
        handle.remove()
    queries = torch.tensor(
        [[int(row.nonzero().min()), last] for row, last in zip(data.present, data.last, strict=True)]
    )
    for whole_map in (False, True):
        got = watcher.projected.weights(queries, data.present, whole_map)
        for row, asked in enumerate(queries):
            torch.testing.assert_close(got[row], maps[layer][row][:, asked], atol=1e-5, rtol=1e-5)
    watcher.forget()
    assert not vars(watcher)["_seen"]


@pytest.mark.parametrize(
    "name", [name for name, kind in METHODS.items() if "official_cost" in kind.__dataclass_fields__]
)
def test_the_official_cost_buys_the_same_tokens(name, monkeypatch):
    """And is paid: the whole map is computed."""
    data, model, rows = batch("llava", ["titttt", "ittittt"]), toy("llava"), []
    einsum = torch.einsum
    monkeypatch.setattr(torch, "einsum", lambda *a: rows.append(a[1].shape[1]) or einsum(*a))
    found = []
    for official in (False, True):
        rows.clear()
        with METHODS[name](Schedule({1: 9, LAYERS - 1: 4}), official_cost=official)(model) as trace:
            model(**data.inputs)
        found.append((trace.kept, max(rows)))
    assert all(torch.equal(found[0][0][layer], found[1][0][layer]) for layer in found[0][0])
    assert found[0][1] < data.present.shape[1] and found[1][1] == data.present.shape[1]
