"""How updates lie to the sensitive direction: gain ratio and cosine, their nulls, the labels; dense references."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from analysis.theorem.predicted import updates_of_others
from analysis.theorem.variation_impact import variation_impact
from tests.support.dense_jacobians import Dense
from tests.support.float64_decoders import decoder, prompt

TOKENS = [1, 2, 3, 4]
LABELS = [["a", "b", "a", "a"]]


def impact(model, **options):
    options = {"tokens": TOKENS, "dtype": torch.float64, "taylor_tokens": 0} | options
    return variation_impact(model, prompt(), **options)


def dense_alignment(dense, layer, vectors):
    """Gain ratio and |cos| to the top right singular vector, by a dense singular value decomposition."""
    jacobian = dense.jacobians(layer)[TOKENS]
    _, singular, right = torch.linalg.svd(jacobian)
    gain = torch.einsum("tod,td->to", jacobian, vectors).norm(dim=-1) / (singular[:, 0] * vectors.norm(dim=-1))
    return gain, (right[:, 0] * vectors).sum(-1).abs() / vectors.norm(dim=-1)


@pytest.mark.parametrize("estimator", ["exact", "lanczos"])
def test_both_numbers_are_those_of_a_dense_decomposition(estimator):
    model = decoder("smooth")
    dense, table = Dense(model, prompt()), impact(model, estimator=estimator, layers=[0, 1, 2])
    for layer in (0, 1, 2):
        update = (dense.states[layer + 1] - dense.states[layer])[0, TOKENS]
        gain, cosine = dense_alignment(dense, layer, update)
        rows = table[table.layer == layer]
        np.testing.assert_allclose(rows.gain_ratio, gain, rtol=1e-6)
        np.testing.assert_allclose(rows.top_cosine, cosine, rtol=1e-4, atol=1e-6)
        assert (rows.top_cosine <= rows.gain_ratio * (1 + 1e-9)).all()


def test_the_permuted_null_takes_another_tokens_vector():
    model = decoder("smooth")
    dense, table = Dense(model, prompt()), impact(model, layers=[1], labels=LABELS)
    update = (dense.states[2] - dense.states[1])[0, TOKENS]
    by_shift = [dense_alignment(dense, 1, update.roll(shift, 0)) for shift in (1, 2, 3)]
    for i, row in enumerate(table.itertuples()):
        pairs = [(float(gain[i]), float(cosine[i])) for gain, cosine in by_shift]
        found = row.gain_ratio_permuted, row.top_cosine_permuted
        assert any(found == pytest.approx(pair, rel=1e-6) for pair in pairs)
    alone = table.label == "b"
    assert table.loc[alone, "gain_ratio_same_label"].isna().all()
    assert table.loc[~alone, ["gain_ratio_same_label", "top_cosine_same_label"]].notna().all(axis=None)
    expected = {float(gain[0]) for gain, _ in by_shift[1:2]} | {float(by_shift[0][0][0])}  # from tokens 3 and 4
    assert any(table.gain_ratio_same_label[0] == pytest.approx(value, rel=1e-6) for value in expected)


@given(groups=st.lists(st.integers(0, 3), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_nobody_gets_its_own_update_and_all_stay_in_their_group(groups, seed):
    update = torch.arange(len(groups)).double()[None, :, None]
    others = updates_of_others(update, groups, [[seed]])[0, :, 0]
    for own, (group, other) in enumerate(zip(groups, others.tolist(), strict=True)):
        if groups.count(group) == 1:
            assert np.isnan(other)
        else:
            assert other != own and groups[int(other)] == group
    given_away = others[~others.isnan()]
    assert len(given_away.unique()) == len(given_away)


def test_the_null_of_a_layer_does_not_depend_on_which_layers_are_measured():
    model = decoder("smooth")
    table, one = impact(model, labels=LABELS, layers=[0, 1, 2]), impact(model, labels=LABELS, layers=[1])
    names = [name for name in table if name.endswith(("_permuted", "_same_label", "_random"))]
    assert len(names) == 6
    np.testing.assert_allclose(table.loc[table.layer == 1, names], one[names], rtol=1e-9)


def test_labels_stand_beside_their_tokens():
    table = impact(decoder("smooth"), labels=LABELS, layers=[0, 1])
    assert table.label.tolist() == LABELS[0] * 2
    bare = impact(decoder("smooth"), layers=[0])
    assert "label" not in bare and bare[["gain_ratio_same_label", "top_cosine_same_label"]].isna().all(axis=None)


@pytest.mark.parametrize("wrong", [["a"], [["a"]], "abcd", ["abcd"], {0: "abcd"}, [LABELS[0]] * 2, 3], ids=repr)
def test_wrong_labels_are_told_what_is_allowed(wrong, without_type_checker):
    with pytest.raises(ValueError, match="labels must be a list for each of 1 rows, with a label for each .*; got"):
        impact(decoder("smooth"), labels=wrong)
