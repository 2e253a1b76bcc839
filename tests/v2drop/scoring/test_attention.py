"""Attention of a few queries is those rows of the eager map, whatever the operator; the whole map is not needed."""

import pytest
import torch

from tests.support import zoo
from v2drop import METHODS, Schedule
from v2drop.contract.toys import LAYERS, batch, toy
from v2drop.hooks.attention import AttentionHooks
from v2drop.models.parts import locate
from v2drop.scoring.attention import QueriesAndKeys, angles_from

ROWS = {"llava": ["titttt", "ittittt", "tttt"], "llama": ["tvvvvvvttt", "vvvvtt"], "qwen2": ["tvvvvvvttt", "vvvvtt"]}


@pytest.mark.parametrize("family", ROWS)
@pytest.mark.parametrize("operator", ["eager", "sdpa"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_weights_are_rows_of_the_eager_map(family, operator, side):
    data, layer = batch(family, ROWS[family], side), 2
    maps = toy(family, "eager")(**data.inputs, position_ids=data.positions, output_attentions=True).attentions
    model, hooks = toy(family, operator), AttentionHooks()
    handles = hooks.install(locate(model), (layer + 1,))
    model(**data.inputs, position_ids=data.positions)
    for handle in handles:
        handle.remove()
    queries = torch.tensor(
        [[int(row.nonzero().min()), last] for row, last in zip(data.present, data.last, strict=True)]
    )
    for full_map in (False, True):
        got = hooks.projected.weights(queries, data.present, full_map)
        for row, asked in enumerate(queries):
            torch.testing.assert_close(got[row], maps[layer][row][:, asked], atol=1e-5, rtol=1e-5)
    hooks.pass_ends()
    assert not vars(hooks)["_notes"]


@pytest.mark.parametrize("name", zoo.BUILD)
def test_every_family_has_its_own_attention(name):
    """Norms of queries and keys, windows, capped logits, pictures and prompts that see themselves both ways."""
    data = zoo.prompt(name, ["tvvvvvvvvvvvvtt", "ttt"] if name in zoo.TEXT_ONLY else ["ttitt", "ttt"])
    parts = locate(zoo.model(name, "eager"))
    queries = torch.tensor([[last - 3, last - 1, last] for last in data.last])
    if not data.present.gather(1, queries).all():
        queries = queries[:, 1:]
    for layer in (2, 4):  # Gemma 3 has a window at the one and none at the other
        attention, maps, before = parts.layers[layer].self_attn, [], []
        hooks = AttentionHooks()
        handles = hooks.install(parts, (layer + 1,))
        handles.append(attention.register_forward_hook(lambda *a, maps=maps: maps.append(a[2][1])))
        handles.append(
            parts.layers[layer].register_forward_pre_hook(
                lambda m, a, k, before=before: before.append((a[0] if a else k["hidden_states"], k)), with_kwargs=True
            )
        )
        zoo.model(name, "eager")(**data.inputs)
        for handle in handles:
            handle.remove()
        (states, given), expected = (
            before[0],
            maps[0].gather(2, queries[:, None, :, None].expand(-1, 4, -1, maps[0].shape[3])),
        )
        ahead = QueriesAndKeys.of_layer(
            parts.layers[layer], states, given["position_embeddings"], queries, given["attention_mask"]
        )
        for projected in (hooks.projected, ahead):
            got = projected.weights(queries, data.present)
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "name", [name for name, kind in METHODS.items() if "full_attention_map" in kind.__dataclass_fields__]
)
def test_the_full_attention_map_buys_the_same_tokens(name, monkeypatch):
    """And is paid: the whole map is computed."""
    data, model, rows = batch("llava", ["titttt", "ittittt"]), toy("llava"), []
    einsum = torch.einsum
    monkeypatch.setattr(torch, "einsum", lambda *a: rows.append(a[1].shape[1]) or einsum(*a))
    found = []
    for official in (False, True):
        rows.clear()
        with METHODS[name](Schedule({1: 9, LAYERS - 1: 4}), full_attention_map=official)(model) as trace:
            model(**data.inputs)
        found.append((trace.kept, max(rows)))
    assert all(torch.equal(found[0][0][layer], found[1][0][layer]) for layer in found[0][0])
    assert found[0][1] < data.present.shape[1] and found[1][1] == data.present.shape[1]


def test_angles_are_counted_from_a_start():
    """Position 7, counted from 3, turns as position 4 does; a common factor stays."""
    frequencies = torch.tensor([1.0, 0.1])

    def angles(position, factor):
        return tuple(factor * f(position * frequencies)[None, None] for f in (torch.cos, torch.sin))

    for factor in (1.0, 1.3):
        got = angles_from(angles(3, factor), angles(7, factor))
        for mine, expected in zip(got, angles(4, factor), strict=True):
            torch.testing.assert_close(mine, expected)
