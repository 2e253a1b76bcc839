"""One place checks arguments: what is refused, what passes, and what the messages say."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from v2drop.arguments import Named, flag, number, one_of, seed_number, share, whole_number, whole_numbers

NO_INTS = [1.0, 1.5, True, np.True_, "1", None, float("nan"), [1], np.float64(2), pd.NA]


@pytest.mark.parametrize("value", NO_INTS, ids=repr)
def test_only_ints_are_ints(value):
    with pytest.raises(ValueError, match="steps must be an int of 1 or more; got"):
        whole_number("steps", value, 1)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), pd.Series([3]).iloc[0]], ids=repr)
def test_ints_of_numpy_become_pythons(value):
    assert whole_number("steps", value, 1) == 3 and type(whole_number("steps", value)) is int
    assert whole_numbers("layers", [value]) == whole_numbers("layers", value) == (3,)


def test_bounds_are_said_and_belong_to_the_allowed_values():
    assert whole_number("n", 1, 1, 2) == 1 and whole_number("n", 2, 1, 2) == 2
    for value, allowed in ((0, "from 1 to 2"), (3, "from 1 to 2")):
        with pytest.raises(ValueError, match=f"n must be an int {allowed}; got {value}"):
            whole_number("n", value, 1, 2)
    with pytest.raises(ValueError, match="n must be an int of at most 2; got 3"):
        whole_number("n", 3, most=2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "0.5", None, 1j, pd.NA], ids=repr)
def test_only_finite_numbers_are_numbers(value):
    with pytest.raises(ValueError, match="width must be a finite number; got"):
        number("width", value)


def test_numbers_stay_what_they_are():
    assert number("width", np.float32(0.5)) == 0.5 and type(number("width", np.float32(0.5))) is float
    assert type(number("width", np.int32(2))) is int
    assert share("kept", 1) == 1.0
    with pytest.raises(ValueError, match="kept must be a finite number from 0 to 1; got 5"):
        share("kept", 5)


@pytest.mark.parametrize("seed", [-1, 2**32, 0.0, True, "0"], ids=repr)
def test_seeds_that_would_become_others(seed):
    with pytest.raises(ValueError, match="seed must be an int from 0 to 4294967295; got"):
        seed_number(seed)


def test_flags_are_no_numbers():
    assert flag("sinks", np.True_) is True and flag("sinks", False) is False
    for value in (1, 0, "no", None):
        with pytest.raises(ValueError, match="sinks must be True or False; got"):
            flag("sinks", value)


def test_names_are_compared_with_their_type():
    assert one_of("output", "logits", ("hidden", "logits")) == "logits"
    for value in ("Logits", None, ["logits"], True):
        with pytest.raises(ValueError, match="output must be one of 'hidden', 'logits'; got"):
            one_of("output", value, ("hidden", "logits"))
    with pytest.raises(ValueError, match="must be one of 0, 1; got True"):
        one_of("label", True, (0, 1))


@pytest.mark.parametrize(
    "values", [[1.7], True, [True], "12", [], [1, 1], {1: 2}, 1.5, None, iter([1]), [-1], np.eye(2)]
)
def test_no_lists_of_ints(values):
    with pytest.raises(ValueError, match="layers must be .*ints? .*of 0 or more.*; got"):
        whole_numbers("layers", values, 0)


def test_lists_of_ints_are_sorted():
    for values in ([2, 1], (2, 1), {1, 2}, range(1, 3), np.array([2, 1]), pd.Series([2, 1]), pd.Index([1, 2])):
        assert whole_numbers("layers", values, 0) == (1, 2)


def test_a_table_says_what_it_has():
    table = Named("method", {"random": 1, "uniform": 2})
    assert table["random"] == 1 and table.get("fastv") is None and "fastv" not in table
    for error in (KeyError, ValueError):
        with pytest.raises(error, match="^there is no method 'fastv'; there are: 'random', 'uniform'.$"):
            table["fastv"]
    for same in (copy.deepcopy(table), pickle.loads(pickle.dumps(table))):
        assert same == table
        with pytest.raises(KeyError, match="no method"):
            same["fastv"]


def test_tensors_are_lists_of_ints():
    assert whole_numbers("layers", torch.tensor([2, 1]), 0) == (1, 2)
    for values in (torch.tensor([1.0]), torch.tensor([True]), torch.tensor(1), torch.eye(2)):
        with pytest.raises(ValueError, match="layers must be .*ints? of 0 or more; got"):
            whole_numbers("layers", values, 0)
