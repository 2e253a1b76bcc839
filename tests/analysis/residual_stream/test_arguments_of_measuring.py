"""Arguments of what measures a model: none is turned into another one; numbers of numpy and torch are taken."""

from inspect import signature

import numpy as np
import pandas as pd
import pytest
import torch

from analysis.criteria.scores import score_tokens, scored
from analysis.efficiency.footprint import footprint
from analysis.efficiency.latency import relative_time
from analysis.residual_stream.measured_tokens import check_layers
from analysis.scenes.questions import sample
from analysis.theorem.interventions import remove_token, revert_update
from analysis.theorem.operator_norms import Estimator, operator_norms
from analysis.theorem.variation_impact import variation_impact
from tests.support.left_behind import TEXT
from tests.support.stream_cases import masked
from v2drop import Schedule, Uniform
from v2drop.contract.toys import LAYERS, batch, toy

MEASURES = [operator_norms, variation_impact, score_tokens]
EVERY_MEASURE = pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.__name__)
NO_LAYERS = [[1.7], True, [True], [0, 0], [], "12", ["1"], {0: 1}, np.array([1.0]), torch.tensor([0.5]), 1.0, [None]]
NO_CANDIDATES = [[1.5], [True], True, "12", [3, 3], [64], [], {1: 2}, torch.tensor([1.5])]
NO_TOKENS = [[1.0], True, [True], [8, 8], "12", {3: 4}, 1.5, [[8], 9], np.array([8.0]), [[8], [9], [9]], [None]]
FINE = {  # lists of layers and tokens as users have them
    "list": list,
    "tuple": tuple,
    "set": set,
    "array": np.array,
    "small ints": lambda values: np.array(values, dtype=np.uint8),
    "ints of numpy": lambda values: [np.int64(value) for value in values],
    "tensor": torch.tensor,
    "Series": pd.Series,
    "Int64": lambda values: pd.Series(values, dtype="Int64"),
    "Index": pd.Index,
}
WRONG_SETTINGS = [
    ("batch_size", 1.5, "must be an int of 1 or more; got 1.5"),
    ("subspace_rank", True, "must be an int of 1 or more; got True"),
    ("iterations", 0, "must be an int of 1 or more; got 0"),
    ("probes", "3", "must be an int of 1 or more; got '3'"),
    ("tolerance", float("nan"), "must be a finite number from 0 to 1; got nan"),
    ("tolerance", 0, "must lie between 0 and 1, which are excluded; got 0"),
    ("confidence", True, "must be a finite number from 0 to 1; got True"),
    ("confidence", 1.0, "must lie between 0 and 1, which are excluded; got 1.0"),
    ("max_relative_width", float("nan"), "must be a finite number of 0 or more; got nan"),
    ("seed", -1, "must be an int from 0 to 4294967295; got -1"),
    ("seed", 1.0, "must be an int from 0 to 4294967295; got 1.0"),
    ("seed", 2**32, "must be an int from 0 to 4294967295; got 4294967296"),
]
pytestmark = pytest.mark.usefixtures("without_type_checker")


def measured(measure, layers=2, tokens=(8,), **options):
    data = batch("llama", ["tvvvvvvvvt", "ttvvvvvvvt"])
    tokens = list(tokens) if isinstance(tokens, tuple) else tokens
    return measure(toy("llama"), data.inputs, layers, tokens, **options)


@pytest.mark.parametrize("layers", NO_LAYERS, ids=repr)
@EVERY_MEASURE
def test_layers_are_different_ints_of_the_model(measure, layers):
    with pytest.raises(ValueError, match=rf"layers must be .*ints? .*from 0 to {LAYERS - 1}.*; got"):
        measured(measure, layers=layers)


@pytest.mark.parametrize("tokens", NO_TOKENS, ids=repr)
@EVERY_MEASURE
def test_tokens_are_different_positions(measure, tokens):
    with pytest.raises(ValueError, match=r"tokens must be (different )?positions.*; got"):
        measured(measure, tokens=tokens)


@EVERY_MEASURE
def test_a_mask_of_ints_is_not_taken_for_positions_0_and_1(measure):
    mask = torch.zeros(2, 10, dtype=torch.long)
    mask[:, 4:6] = 1
    with pytest.raises(ValueError, match="a mask must be boolean, no list of 0 and 1"):
        measured(measure, tokens=mask)
    assert measured(measure, tokens=mask.bool()).token.tolist() == [4, 5, 4, 5]


@pytest.mark.parametrize("form", FINE)
def test_lists_of_every_kind_are_taken(form):
    expected, made = measured(score_tokens, [1, 3], [4, 8]), FINE[form]
    pd.testing.assert_frame_equal(measured(score_tokens, made([1, 3]), made([4, 8])), expected)
    assert check_layers(toy("llama"), made([3, 1])) == [1, 3]
    assert all(type(layer) is int for layer in check_layers(toy("llama"), made([3, 1])))


@pytest.mark.parametrize("candidates", NO_CANDIDATES, ids=repr)
@pytest.mark.parametrize("measure", [operator_norms, variation_impact], ids=lambda measure: measure.__name__)
def test_candidates_are_different_token_ids(measure, candidates):
    with pytest.raises(ValueError, match="candidates must be .*ints? from 0 to 63.*; got"):
        measured(measure, output="logits", candidates=candidates)


def test_candidates_of_every_kind_are_taken():
    expected = measured(operator_norms, output="logits", candidates=[3, 5])
    for made in FINE.values():
        got = measured(operator_norms, output="logits", candidates=made([3, 5]))
        pd.testing.assert_frame_equal(got, expected)


@pytest.mark.parametrize(("name", "value", "message"), WRONG_SETTINGS)
@pytest.mark.parametrize("measure", [operator_norms, variation_impact], ids=lambda measure: measure.__name__)
def test_settings_of_the_estimator_are_checked(measure, name, value, message):
    with pytest.raises(ValueError, match=f"^{name} {message}"):
        measured(measure, **{name: value})


def test_settings_of_numpy_become_pythons():
    settings = {"batch_size": np.int64(4), "seed": np.int64(3), "probes": np.uint8(2), "tolerance": np.float32(0.5)}
    settled = Estimator("shared", **settings, max_relative_width=np.float64(0.5), subspace_rank=np.int32(2))
    assert all(type(getattr(settled, name)) in (int, float, str) for name in signature(Estimator).parameters)
    for estimator in ("lanczos", "shared"):
        got, expected = (
            measured(operator_norms, estimator=estimator, **{name: kind(value) for name, value in settings.items()})
            for kind in (lambda value: value, lambda value: value.item())
        )
        pd.testing.assert_frame_equal(got, expected)


@pytest.mark.parametrize("value", [1.5, True, -1, "3", np.float64(2)], ids=repr)
def test_taylor_tokens_are_counted(value):
    with pytest.raises(ValueError, match="taylor_tokens must be an int of 0 or more; got"):
        measured(variation_impact, taylor_tokens=value)


@EVERY_MEASURE
def test_inputs_are_what_the_model_is_called_with(measure):
    for wrong in (TEXT.inputs["input_ids"], None, {}, {"attention_mask": torch.ones(1, 3)}, [1, 2]):
        with pytest.raises(ValueError, match=f"inputs must be the keyword arguments .* got a {type(wrong).__name__}"):
            measure(toy("llama"), wrong, 2, [1])


INTERVENTIONS = [
    ({"layers": [-1]}, "each of layers must be an int from 0 to 4; got -1"),
    ({"layers": [1.0]}, "each of layers must be an int from 0 to 4; got 1.0"),
    ({"tokens": torch.tensor([-2])}, r"tokens must be positions from 0 to 5; got \[-2\]"),
    ({"tokens": torch.tensor([6])}, r"tokens must be positions from 0 to 5; got \[6\]"),
    ({"batch_size": -1}, "batch_size must be an int of 1 or more; got -1"),  # gave numbers of unwritten memory
]


@pytest.mark.parametrize(("wrong", "message"), INTERVENTIONS)
@pytest.mark.parametrize("intervene", [revert_update, remove_token], ids=lambda intervene: intervene.__name__)
def test_interventions_take_what_the_stream_has(intervene, wrong, message):
    stream = masked(toy("llama"), {"input_ids": torch.arange(4, 10)[None]}, torch.ones(6, 6).bool().tril())
    with pytest.raises(ValueError, match=message):
        intervene(stream, **{"layers": [1], "tokens": torch.tensor([2])} | wrong)
    with pytest.raises(ValueError, match="share must be a finite number; got nan"):
        revert_update(stream, [1], torch.tensor([2]), share=float("nan"))


@pytest.mark.parametrize("value", [0, -1, 1.5, True, None], ids=repr)
def test_rounds_and_batches_are_counted_from_one(value, embedded):
    with pytest.raises(ValueError, match="batch_size must be an int of 1 or more; got"):
        scored(embedded, sample(1), [0], batch_size=value)
    with pytest.raises(ValueError, match="repeats must be an int of 1 or more; got"):
        relative_time(embedded, sample(1), {"uniform": Uniform(Schedule({1: 9}))}, repeats=value)


def test_a_footprint_is_that_of_a_configuration(embedded):
    for wrong in (embedded, embedded.model, "llava", None):
        with pytest.raises(ValueError, match=f"as loaded.model.config; got a {type(wrong).__name__}"):
            footprint(wrong)
    with pytest.raises(ValueError, match="config.model_type must be one of 'llava', .*; got 'clip_vision_model'"):
        footprint(embedded.model.config.vision_config)
    with pytest.raises(ValueError, match="dtype must be one of torch's, such as torch.bfloat16; got 'float16'"):
        footprint(embedded.model.config, "float16")
