"""A cache that is copied, reordered, selected from, repeated or cropped goes on as its rows alone would."""

import copy
import pickle

import pytest
import torch
from transformers import DynamicCache

from tests.support import zoo
from tests.support.fitted_methods import fitted, skip_unless_possible
from v2drop import METHODS, DyCoke, Random, Schedule
from v2drop.contract.toys import Batch, batch, toy

ROWS = {"llama": ["tvvvvvvttt", "tvvttt", "tvvvvtttt"], "llava": ["titttt", "tiittt", "tttt"]}
STEPS = 2


def row_of(data, row):
    """A row alone, without its padding."""
    there = data.present[row]
    inputs = {name: x[row : row + 1, there] for name, x in data.inputs.items() if name != "pixel_values"}
    if "pixel_values" in data.inputs:
        images = (data.vision.sum(1) // 16).tolist()
        first = sum(images[:row])
        if images[row]:
            inputs["pixel_values"] = data.inputs["pixel_values"][first : first + images[row]]
    return Batch(
        inputs, data.vision[row : row + 1, there], {k: x[row : row + 1, there] for k, x in data.options.items()}
    )


def step(model, tokens, mask, cache):
    mask = torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
    ids = mask.sum(1, keepdim=True) - 1
    out = model(input_ids=tokens, attention_mask=mask, position_ids=ids, past_key_values=cache)
    return mask, out.logits[:, -1]


def prefilled(model, data):
    """A cache filled with a prompt, and the mask; layers with sliding windows keep what a crop needs."""
    cache = DynamicCache(config=model.config)
    record(cache, True)
    out = model(**data.inputs, position_ids=data.positions, use_cache=True, past_key_values=cache)
    return out.past_key_values, data.inputs["attention_mask"]


def record(cache, whether):
    for layer in cache.layers:
        if layer.is_sliding:
            layer.record_past = whether


def crop(cache, n_columns):
    cache.crop(-n_columns)
    record(cache, False)  # older releases of transformers want a crop after every pass else


def going_on(model, tokens, mask, cache):
    steps = []
    for i in range(tokens.shape[1]):
        mask, logits = step(model, tokens[:, i : i + 1], mask, cache)
        steps.append(logits)
    return torch.stack(steps, 1)


def alone(method, model, data, tokens):
    """Logits of every row run by itself; `tokens[row]` lists what follows it, one run each."""
    rows = []
    for row, several in enumerate(tokens):
        one = row_of(data, row)
        for each in several:
            with method(model, **one.options):
                cache, mask = prefilled(model, one)
                rows.append(going_on(model, each[None], mask, cache)[0])
    return torch.stack(rows)


CHANGES = {
    "reorder_cache twice": (torch.tensor([1, 2, 0]), [1, 2, 0]),
    "batch_select_indices": (torch.tensor([1, 1]), [1, 1]),
    "batch_repeat_interleave": (2, [0, 0, 1, 1, 2, 2]),
}


CASES = {name: fitted(name, {1: 0.3, 3: 0.1}) for name in METHODS} | {
    "random at layers 0 and 2": Random(Schedule({0: 4, 2: 1})),
    "random at layer 0": Random(Schedule({0: 2})),
    "dycoke, both stages": DyCoke(Schedule({0: 0.6}), visible_share=0.4, frame_tokens=2),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("family", ROWS)
@pytest.mark.parametrize("case", CASES)
def test_changed_rows_go_on_as_the_rows_they_are(case, family, change):
    skip_unless_possible(case.split(",")[0].split()[0], family)
    method = CASES[case]
    data, model = batch(family, ROWS[family]), toy(family)
    argument, rows = CHANGES[change]
    first = torch.randint(4, 64, (3, 1))
    later = torch.randint(4, 64, (len(rows), STEPS))
    with method(model, **data.options):
        cache, mask = prefilled(model, data)
        mask, _ = step(model, first, mask, cache)  # a change may come in the middle
        for _ in range(1 + change.endswith("twice")):
            getattr(cache, change.split()[0].strip(","))(argument)
        if change.endswith("twice"):
            rows = [rows[i] for i in rows]
        got = going_on(model, later, mask[rows], cache)
    several = [[] for _ in range(3)]
    for place, row in enumerate(rows):
        several[row].append((place, torch.cat([first[row], later[place]])))
    order = [place for row in several for place, _ in row]
    expected = alone(method, model, data, [[tokens for _, tokens in row] for row in several])[:, 1:]
    torch.testing.assert_close(got[order], expected, atol=2e-4, rtol=1e-4)


COPIES = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    "copied layers": lambda cache: with_layers(cache, [copy.copy(layer) for layer in cache.layers]),
}


def with_layers(cache, layers):
    twin = copy.copy(cache)
    twin.layers = layers
    return twin


@pytest.mark.parametrize("family", ROWS)
@pytest.mark.parametrize("case", CASES)
def test_a_copy_goes_on_as_the_original_does_and_apart_from_it(case, family):
    """One prefix for several questions."""
    skip_unless_possible(case.split(",")[0].split()[0], family)
    method = CASES[case]
    data, model = batch(family, ROWS[family]), toy(family)
    one, two = torch.randint(4, 64, (2, 3, STEPS))
    with method(model, **data.options):
        cache, mask = prefilled(model, data)
        twin = copy.deepcopy(cache)
        first = going_on(model, one, mask, cache)
        cache.batch_select_indices([0])  # leaves the copy alone
        third = COPIES["copied layers"](twin)
        second = going_on(model, two, mask, twin)
        third.reorder_cache(torch.tensor([1, 0, 2]))
        swapped = going_on(model, one[[1, 0, 2]], mask[[1, 0, 2]], third)
    expected = alone(method, model, data, [[x] for x in one]), alone(method, model, data, [[x] for x in two])
    torch.testing.assert_close(first, expected[0], atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(second, expected[1], atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(swapped[[1, 0, 2]], expected[0], atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_refused_in_another_with(how):
    data, model, token = batch("llama", ["tvvvvvvttt"]), toy("llama"), torch.tensor([[5]])
    method = Random(Schedule({0: 2}))
    with method(model, **data.options):
        twin = COPIES[how](model(**data.inputs).past_key_values)
    with method(model, **data.options), pytest.raises(ValueError, match="no prompt of this `with` filled it"):
        model(input_ids=token, past_key_values=twin)


def test_a_cache_made_anew_from_tensors_is_refused_where_a_mask_shows_what_is_missing():
    data, model, token = batch("llama", ["tvvvvvvttt"]), toy("llama"), torch.tensor([[5]])
    with Random(Schedule({0: 2}))(model, **data.options):
        cache = model(**data.inputs).past_key_values
        anew = DynamicCache()
        for number, layer in enumerate(cache.layers):
            anew.update(layer.keys, layer.values, number)
        mask = torch.ones(1, 11, dtype=torch.long)
        with pytest.raises(ValueError, match=r"holds \[6, .* and the mask counts 10.*made .* anew from tensors"):
            model(input_ids=token, attention_mask=mask, past_key_values=anew)


def test_a_cache_cannot_be_pickled_and_says_why():
    data, model = batch("llama", ["tvvvvvvttt"]), toy("llama")
    with Random(Schedule({0: 2}))(model, **data.options):
        cache = model(**data.inputs).past_key_values
    with pytest.raises(ValueError, match=r"cannot be pickled .*only inside that `with`"):
        pickle.dumps(cache)


@pytest.mark.parametrize("family", ["llama", "mistral_window"])
@pytest.mark.parametrize("name", METHODS)
def test_a_ragged_prompt_may_be_cropped_anywhere_in_its_closing_text(name, family):
    skip_unless_possible(name, "llama")
    if METHODS[name].before_llm:
        pytest.skip(f"{name} declares that it acts at layer 0, where a cache must not be cropped")
    data = batch("llama", ["tvvvvvvtttttt", "tvvtttttt", "tvvvvtttttttt"])
    model = toy("llama") if family == "llama" else zoo.model(family)
    method, tokens = fitted(name, {1: 4, 3: 1}), torch.randint(4, 64, (3, STEPS))
    for n_cropped in (0, 2, 3, 6):
        with method(model, **data.options):
            cache, mask = prefilled(model, data)
            crop(cache, n_cropped)
            got = going_on(model, tokens, mask[:, : mask.shape[1] - n_cropped], cache)
        for row in range(3):
            one = row_of(data, row)
            with method(model, **one.options):
                cache, mask = prefilled(model, one)
                crop(cache, n_cropped)
                expected = going_on(model, tokens[row : row + 1], mask[:, : mask.shape[1] - n_cropped], cache)
            torch.testing.assert_close(got[row : row + 1], expected, atol=2e-4, rtol=1e-4)
