"""Layouts and masks by hand: what is gathered, what a hole is, and what flash operators are given."""

import torch

from v2drop.scoring.selection import gather_columns
from v2drop.sequence.layout import Layout, restore
from v2drop.sequence.masks import mask_for


def ragged():
    """Two rows of four columns; the first keeps columns 0, 2 and 3, the second only 1 and 3."""
    keep = torch.tensor([[True, False, True, True], [False, True, False, True]])
    return Layout.full(2, 4, torch.device("cpu")).selected(keep, [3, 2])


def test_rows_are_aligned_at_the_end_and_a_hole_repeats_a_real_column():
    layout, columns = ragged()
    assert layout.index.tolist() == [[0, 2, 3], [3, 1, 3]] and layout.index.equal(columns)
    assert layout.valid.tolist() == [[True] * 3, [False, True, True]] and layout.holes
    again, columns = layout.selected(torch.tensor([[False, False, True], [False, False, True]]), [1, 1])
    assert again.index.tolist() == [[3], [3]] and columns.tolist() == [[2], [2]] and not again.holes


def test_states_go_and_come_back_with_nan_where_they_are_gone():
    layout, columns = ragged()
    states = torch.arange(8.0).view(2, 4, 1)
    back = restore(gather_columns(states, columns), layout, 4)[..., 0]
    assert torch.equal(back.nan_to_num(-1), torch.tensor([[0.0, -1, 2, 3], [-1, 5, -1, 7]]))


def test_a_tensor_shared_by_all_rows_is_cut_for_each():
    layout, _ = ragged()
    assert gather_columns(torch.tensor([[10, 11, 12, 13]]), layout.index).tolist() == [[10, 12, 13], [13, 11, 13]]


def test_no_mask_stays_no_mask_without_holes():
    full = Layout.full(2, 4, torch.device("cpu"))
    assert mask_for(None, full, full, 0, flat=False) is None


def test_holes_force_a_mask_that_is_causal_in_the_full_sequence():
    layout, _ = ragged()
    mask = mask_for(None, layout, layout, 0, flat=False)
    assert mask[0, 0].tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert mask[1, 0, 1:].tolist() == [[False, True, False], [False, True, True]]  # rows of tokens, not of the hole


def test_flash_operators_are_given_two_dimensions():
    layout, _ = ragged()
    assert mask_for(None, layout, layout, 0, flat=True).tolist() == [[1, 1, 1], [0, 1, 1]]
    padded = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    assert mask_for(padded, layout, layout, 0, flat=True).tolist() == [[0, 1, 1], [0, 1, 1]]


def test_additive_masks_keep_their_heads_and_dtype():
    layout, _ = ragged()
    bias = torch.zeros(1, 2, 4, 4, dtype=torch.bfloat16)
    cut = mask_for(bias, layout, layout, 0, flat=False)
    assert cut.shape == (2, 2, 3, 3) and cut.dtype == torch.bfloat16
    assert (cut[1, :, :, 0] == torch.finfo(torch.bfloat16).min).all() and (cut[0] == 0).all()


def test_after_the_prefill_the_cache_of_a_layer_is_what_it_kept_and_all_since():
    layout, _ = ragged()
    keys = layout.extended(4, 6)
    assert keys.index.tolist() == [[0, 2, 3, 4, 5], [3, 1, 3, 4, 5]]
    queries = Layout.full(2, 1, torch.device("cpu"))
    assert mask_for(None, queries, keys, 5, flat=False)[1, 0].tolist() == [[False, True, True, True, True]]
