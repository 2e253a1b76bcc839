"""Which tokens are sinks, and that every statistic can be had without them."""

import numpy as np
import pandas as pd
import pytest

from analysis.theorem.statistics.proportionality import proportionality
from analysis.theorem.statistics.sinks import sink_tokens, with_and_without_sinks
from analysis.theorem.statistics.summary import per_sample
from tests.support.impact_tables import synthetic


def with_sinks():
    """Token 3 of layer 0 is massive, token 5 of layer 1 has half of the attention."""
    table = synthetic(samples=3, tokens=20)
    massive, attended = ((table.layer == layer) & (table.token == token) for layer, token in ((0, 3), (1, 5)))
    return table.assign(
        token_norm=np.where(massive, 100.0, 1.0), attention_last=np.where(attended, 0.5, table.attention_last)
    )


def test_sinks_are_the_massive_and_the_attended():
    found = sink_tokens(with_sinks())
    assert found[["sample", "layer", "token"]].to_numpy().tolist() == [
        [sample, layer, token] for sample in range(3) for layer, token in ((0, 3), (1, 5))
    ]
    assert found.norm_ratio.tolist() == [100.0, 1.0] * 3


def test_ten_times_the_median_and_a_fifth_of_the_attention_are_none_yet():
    table = synthetic(samples=1, layers=1, tokens=9).assign(token_norm=1.0, attention_last=0.0)
    table.loc[0, ["token_norm", "attention_last"]] = [10.0, 0.2]
    assert sink_tokens(table).empty
    table.loc[0, "token_norm"] = 10.01
    assert sink_tokens(table.assign(attention_last=np.nan)).token.tolist() == [0]


@pytest.mark.parametrize("statistic", [per_sample, lambda table: proportionality(table, 10)])
def test_without_is_the_statistic_of_the_table_without_them(statistic):
    table = with_sinks()
    both = with_and_without_sinks(table, statistic)
    sinks = ((table.layer == 0) & (table.token == 3)) | ((table.layer == 1) & (table.token == 5))
    for which, part in (("with", table), ("without", table[~sinks])):
        found = both[both.sinks == which].drop(columns="sinks").reset_index(drop=True)
        pd.testing.assert_frame_equal(found, statistic(part))


def test_a_table_without_sinks_says_the_same_twice():
    both = with_and_without_sinks(synthetic(samples=2), lambda table: table.agg(["mean"]).reset_index())
    assert both.sinks.tolist() == ["with", "without"] and both.revert_impact.nunique() == 1
