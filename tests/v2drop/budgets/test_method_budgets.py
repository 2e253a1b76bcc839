"""One budget language for all methods: released defaults, true layer averages, final counts."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from tests.support.fitted_methods import fitted
from v2drop import METHODS, Schedule
from v2drop.contract.toys import LAYERS, TEXT, batch, toy

EVERY_METHOD = pytest.mark.parametrize("name", METHODS)


@pytest.mark.parametrize(
    ("model", "budget", "counts", "average"),
    [
        ("fastv", 288, [576] * 2 + [288] * 30, 306),
        ("fastv", 128, [576] * 3 + [128] * 29, 170),
        ("pdrop", 270, [576] * 8 + [288] * 8 + [144] * 8 + [72] * 8, 270),
        ("sparsevlm", 192, [576] * 3 + [309] * 4 + [204] * 9 + [113] * 16, 206.5),
        ("sparsevlm", 128, [576] * 3 + [312] * 4 + [117] * 9 + [39] * 16, 145.4),
        ("sparsevlm", 96, [576] * 3 + [249] * 4 + [55] * 9 + [27] * 16, 114.1),
        ("sparsevlm", 64, [576] * 3 + [82] * 4 + [32] * 9 + [18] * 16, 82.25),
        ("sparsevlm_plus", 192, [576] * 3 + [300] * 4 + [200] * 9 + [118] * 16, 206.75),
        ("sparsevlm_plus", 128, [576] * 3 + [238] * 4 + [108] * 9 + [60] * 16, 144.125),
        ("sparsevlm_plus", 96, [576] * 3 + [246] * 4 + [54] * 9 + [28] * 16, 113.9),
        ("sparsevlm_plus", 64, [576] * 3 + [66] * 4 + [34] * 9 + [20] * 16, 81.8),
        ("dart", 128, [576] * 2 + [132] * 30, 159.75),
    ],
)
def test_presets_of_the_rivals_are_the_counts_their_codes_run_at(model, budget, counts, average):
    """Counts and averages as measured on the released codes or derived from them (shared/methods.md, section 2)."""
    schedule = Schedule.preset(f"llava-1.5-7b-{model}", budget)
    assert schedule.counts(576, 32) == counts and schedule.average(576, 32) == pytest.approx(average, abs=0.06)
    assert f"average {schedule.average(576, 32):.1f}" in schedule.label


@EVERY_METHOD
def test_a_final_count_and_an_average_are_what_runs(name):
    if not METHODS[name].exact_count:
        pytest.skip(f"{name} declares that it cannot leave just any number")
    data, kind = batch("llava", ["titttt"]), METHODS[name]
    for method in (kind.for_final(6, 16, LAYERS), kind.for_average(8, 16, LAYERS)):
        with method(toy("llava")) as trace:
            toy("llava")(**data.inputs)
        assert trace.average_tokens == method.schedule.average(16, LAYERS)
        assert trace.final_tokens == method.schedule.counts(16, LAYERS)[-1]
    assert kind.for_final(6, 16, LAYERS).schedule.counts(16, LAYERS)[-1] == 6
    assert kind.for_average(8, 16, LAYERS).schedule.average(16, LAYERS) == pytest.approx(8, abs=1)


@EVERY_METHOD
def test_the_default_is_the_released_schedule_at_the_same_depths(name):
    kind = METHODS[name]
    config = LlamaConfig(**TEXT | {"num_hidden_layers": 32})
    with torch.device("meta"):
        deep = LlamaForCausalLM(config)
    assert kind.default(deep).schedule == kind.released_schedule and kind.released_schedule.label
    shallow = kind.default(toy("llama")).schedule
    assert all(kind.first_layer <= layer < LAYERS for layer in shallow.layers)
    assert shallow.after(576)[shallow.layers[-1]] == list(kind.released_schedule.after(576).values())[-1]


@given(st.integers(0, 576), st.lists(st.integers(0, 31), min_size=1, max_size=4, unique=True))
def test_for_final_ends_at_the_count_and_falls_evenly(final, layers):
    schedule = Schedule.for_final(final, tuple(layers), 576, 32)
    counts = [576, *schedule.after(576).values()]
    assert counts[-1] == final and schedule.layers == tuple(sorted(layers))
    ratio = (final / 576) ** (1 / len(layers))
    assert all(abs(after - 576 * ratio**i) <= 1 for i, after in enumerate(counts))


@pytest.mark.parametrize("final", [-1, 577, 3.5])
def test_for_final_refuses_what_is_no_count(final):
    with pytest.raises(ValueError, match=f"final must be an int from 0 to 576; got {final}"):
        Schedule.for_final(final, (3,), 576, 32)


def test_reference_points_of_pyramiddrop_and_fastv():
    """35 + 576 + 24 tokens, 32 layers: run on 635/347/203/131 and on 635 twice, then 347."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**TEXT | {"num_hidden_layers": 32}, max_position_embeddings=1024)).eval()
    vision = torch.zeros(1, 635, dtype=torch.bool)
    vision[:, 35:611] = True
    lengths = {"pdrop": [635] * 8 + [347] * 8 + [203] * 8 + [131] * 8, "fastv": [635] * 2 + [347] * 30}
    for name, expected in lengths.items():
        with torch.no_grad(), METHODS[name].default(model)(model, vision_mask=vision) as trace:
            model(torch.randint(4, 64, (1, 635)))
        assert trace.lengths == expected


def test_fitted_gives_a_method_the_schedule_it_can_follow():
    assert fitted("v2drop", {1: 5, 3: 2}).schedule == Schedule({1: 5, 3: 2})
    assert fitted("fastervlm", {1: 5, 3: 2}).schedule == Schedule({0: 5})


def test_rows_that_lose_everything_at_layer_0_count():
    data = batch("llava", ["tit", "tiit", "ttt"])
    with METHODS["uniform"](Schedule({0: 0.05}))(toy("llava")) as trace:  # of 16, 32 and no tokens
        toy("llava")(**data.inputs)
    assert trace.vision_tokens[0] == [0, 1, 0] and trace.average_tokens == trace.final_tokens == 0.5


def test_too_shallow_a_decoder_is_refused():
    with pytest.raises(ValueError, match="FastV drops from layer 1 on; the decoder must have more; got 1"):
        METHODS["fastv"].for_average(192, 576, 1)
