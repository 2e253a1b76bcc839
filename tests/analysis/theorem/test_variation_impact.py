"""The table of the Variation-Impact Theorem: closed forms, the model's own runs, and what must hold for every token."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from analysis.residual_stream.measured_tokens import check_layers
from analysis.theorem.statistics.summary import summarise_impact
from analysis.theorem.variation_impact import variation_impact
from v2drop import Method, Schedule
from v2drop.contract.toys import FAMILIES, batch, toy

EACH = pytest.mark.parametrize("family", FAMILIES)


def prompt(family, rows=("ttitt",), side="left"):
    rows = list(rows) if family == "llava" else [row.replace("i", "vvvv") for row in rows]
    data = batch(family, rows, side)
    return data, (None if family == "llava" else data.vision)


def impact(family, *args, rows=("ttitt",), side="left", model=None, **options):
    data, tokens = prompt(family, rows, side)
    return variation_impact(model or toy(family), data.inputs, *args, tokens=tokens, **options)


def drawn_columns(table):
    return [name for name in table if name.endswith(("random", "_permuted", "_same_label"))]


@pytest.fixture(scope="module")
def tables():
    return {family: impact(family, rows=("ttitt", "titttt"), dtype=torch.float64) for family in FAMILIES}


@dataclass(frozen=True)
class Without(Method):
    """Drops one token, by its rank among the vision tokens."""

    rank: int = 0

    def score(self, candidates):
        return (candidates.vision_index != self.rank).float()


@EACH
def test_one_row_per_sample_layer_and_token(tables, family):
    table = tables[family]
    data, _ = prompt(family, ("ttitt", "titttt"))
    keys = [(s, layer, t) for s, row in enumerate(data.vision) for layer in range(5) for t in row.nonzero().flatten()]
    assert [tuple(key) for key in table[["sample", "layer", "token"]].to_numpy()] == [tuple(map(int, k)) for k in keys]
    assert (
        set(table.norm_estimator) == {"exact"} and set(table.dtype) == {"float64"} and set(table.output) == {"hidden"}
    )


@EACH
@pytest.mark.parametrize("estimator", ["exact", "lanczos", "shared"])
def test_the_first_order_never_exceeds_the_bound_whatever_the_estimator(family, estimator):
    options = {"subspace_rank": 1, "probes": 1} if estimator == "shared" else {}
    table = impact(family, [0, 2, 4], estimator=estimator, taylor_tokens=0, **options)
    assert (table.first_order_impact <= table.predicted_impact).all()
    assert table.gain_ratio.dropna().between(0, 1).all()
    assert (table.operator_norm_lower <= table.operator_norm).all()
    assert (table.operator_norm <= table.operator_norm_upper).all()


@EACH
def test_the_bound_holds_for_a_small_share_of_the_update_and_the_slope_is_two(tables, family):
    table = tables[family][tables[family].layer < 4]
    assert table.taylor_slope.notna().mean() > 0.9
    assert table.taylor_slope.median() == pytest.approx(2, abs=0.2)


@EACH
def test_behind_the_last_layer_a_token_changes_nothing(tables, family):
    last = tables[family][tables[family].layer == 4]
    measured = ["operator_norm", "predicted_impact", "first_order_impact", "revert_impact", "drop_impact"]
    assert (last[measured] == 0).all(axis=None) and last.gain_ratio.isna().all()
    assert (last.drop_kl < 1e-15).all()
    assert (last.variation_l2 > 0).all()


@EACH
def test_drop_impact_and_divergence_are_those_of_a_run_that_drops_the_token(tables, family):
    data, _ = prompt(family)
    options = {} if family == "llava" else {"vision_mask": data.vision}
    n, model = int(data.vision.sum()), toy(family)
    table = impact(family, output="logits", taylor_tokens=0)
    plain = model(**data.inputs).logits[0, -1]
    for layer in (0, 3):
        rows = table[table.layer == layer].reset_index()
        for rank in (0, n - 1):
            with Without(Schedule({layer + 1: n - 1}), rank)(model, **options):
                dropped = model(**data.inputs).logits[0, -1]
            assert rows.drop_impact[rank] == pytest.approx(float((dropped - plain).norm()), rel=1e-4, abs=1e-6)
            kl = torch.nn.functional.kl_div(
                dropped.log_softmax(-1), plain.log_softmax(-1), log_target=True, reduction="sum"
            )
            assert rows.drop_kl[rank] == pytest.approx(float(kl), rel=1e-3, abs=1e-6)


@EACH
def test_attention_is_that_of_the_eager_map(family):
    data, tokens = prompt(family)
    table = impact(family, taylor_tokens=0)
    model = toy(family, "eager")
    maps = model(**data.inputs, output_attentions=True).attentions
    toy(family, "sdpa")
    for layer, weights in enumerate(maps):
        expected = weights[0, :, -1].mean(0)[data.vision[0]]
        found = table[table.layer == layer].attention_last.to_numpy()
        np.testing.assert_allclose(found, expected.detach(), rtol=1e-4)


@EACH
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_row_of_a_padded_batch_is_the_row_by_itself(family, side):
    data, tokens = prompt(family, ("ttitt", "titttt"), side)
    both = variation_impact(toy(family), data.inputs, tokens=tokens, dtype=torch.float64)
    for row, present in enumerate(data.present):
        inputs = {name: x[row : row + 1, present] for name, x in data.inputs.items() if x.ndim == 2}
        inputs |= {name: x[row : row + 1] for name, x in data.inputs.items() if x.ndim == 4}
        alone = variation_impact(toy(family), inputs, tokens=data.vision[row : row + 1, present], dtype=torch.float64)
        part = both[both["sample"] == row].reset_index(drop=True)
        drawn = ["taylor_slope", *drawn_columns(alone)]
        for name in alone.columns[3:-3].drop(drawn):
            np.testing.assert_allclose(part[name], alone[name], rtol=1e-4, atol=1e-7, err_msg=name)


def test_impacts_on_logits_scale_with_the_head():
    family, factor = "llama", 3.0
    table = impact(family, [1], output="logits", taylor_tokens=0)
    model = toy(family)
    with torch.no_grad():
        model.lm_head.weight.mul_(factor)
        try:
            scaled = impact(family, [1], output="logits", taylor_tokens=0)
        finally:
            model.lm_head.weight.div_(factor)
    for name in ("operator_norm", "predicted_impact", "first_order_impact", "revert_impact", "drop_impact"):
        np.testing.assert_allclose(scaled[name], factor * table[name], rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(scaled.gain_ratio, table.gain_ratio, rtol=1e-4)


def test_slopes_are_for_as_many_tokens_as_asked():
    table = impact("llava", [0, 1], taylor_tokens=3)
    assert table.groupby("layer").taylor_slope.count().tolist() == [3, 3]
    assert impact("llava", [0], taylor_tokens=0).taylor_slope.isna().all()


def test_a_seed_gives_the_same_table_and_another_seed_another_baseline():
    first, again, other = (impact("llama", [1], taylor_tokens=0, seed=seed) for seed in (0, 0, 1))
    assert first.equals(again) and not first.random.equals(other.random)
    drawn = drawn_columns(first)
    assert first.drop(columns=drawn).equals(other.drop(columns=drawn))


def test_tokens_may_be_named_in_every_form():
    data, mask = prompt("llama", ("tvvt", "tvvt"))
    expected = variation_impact(toy("llama"), data.inputs, 1, mask, taylor_tokens=0)
    per_row = [[1, 2], [1, 2]]
    forms = [[1, 2], np.array([1, 2]), torch.tensor([1, 2]), per_row, np.array(per_row), torch.tensor(per_row)]
    forms += [[np.array([1, 2]), torch.tensor([1, 2])], mask.numpy()]
    for tokens in forms:
        assert variation_impact(toy("llama"), data.inputs, 1, tokens, taylor_tokens=0).equals(expected)
    other = variation_impact(toy("llama"), data.inputs, 1, torch.tensor([[1], [2]]), taylor_tokens=0)
    assert other[["sample", "token"]].to_numpy().tolist() == [[0, 1], [1, 2]]
    for wrong in ([1.5], [True], [[1], [9]]):
        with pytest.raises(ValueError, match=r"tokens must be positions in \[0, 3\], the same in every row or"):
            variation_impact(toy("llama"), data.inputs, 1, wrong)


def test_inference_mode_and_autocast_around_it_change_nothing():
    expected = impact("llama", [1], estimator="lanczos", taylor_tokens=0)
    with torch.inference_mode(), torch.autocast("cpu"):
        found = impact("llama", [1], estimator="lanczos", taylor_tokens=0)
    assert found.equals(expected)


def test_the_frame_names_the_method_behind_each_norm():
    table = impact("llama", [1], estimator="shared", subspace_rank=1, max_relative_width=1e-9, taylor_tokens=0)
    assert set(table.norm_estimator) == {"lanczos"}


def test_behind_the_last_layer_nothing_is_summarised_for_logits_either():
    table = impact("llava", output="logits", rows=("ttitt", "titttt"), dtype=torch.float64, taylor_tokens=0)
    assert set(summarise_impact(table).layer) == {0, 1, 2, 3, "all"}


def test_wrong_arguments_are_told_what_is_allowed():
    with pytest.raises(ValueError, match="taylor_tokens must be an int of 0 or more; got -1"):
        impact("llama", taylor_tokens=-1)
    with pytest.raises(ValueError, match="last token of a prompt cannot be dropped"):
        data, _ = prompt("llama")
        variation_impact(toy("llama"), data.inputs, tokens=[data.vision.shape[1] - 1])
    with pytest.raises(ValueError, match="layers must be an int from 0 to 4; got 5"):
        check_layers(toy("llama"), 5)
    assert check_layers(toy("llama"), np.int64(3)) == check_layers(toy("llama"), np.array([3])) == [3]
