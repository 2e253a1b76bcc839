"""Arguments of a command line name the method and schedule that the same words name in Python; wrong ones, a line."""

import pytest

from analysis.lmms.method_choice import NO_METHOD, MethodChoice, method_choice
from analysis.models.loaded import Loaded
from tests.support import zoo
from v2drop import METHODS, FastV, Random, Schedule, V2Drop

PRESET = Schedule.preset("llava-1.5-7b", 192)
GIVEN = {  # arguments as lmms-eval's own parser leaves them -> the method for a prompt of 144 tokens
    "average": ({"method": "fastv", "average": 48}, FastV.for_average(48, 144, 12)),
    "layers": (
        {"method": "v2drop", "average": 48, "layers": "[2, 5]", "metric": "cosine"},
        V2Drop(Schedule.for_average(48, (2, 5), 144, 12), "cosine"),
    ),
    "left": ({"method": "random", "left": "{1: 0.5, 6: 20}", "seed": 3}, Random(Schedule({1: 0.5, 6: 20}), seed=3)),
    "fewer tokens than the average": ({"method": "fastv", "average": 500}, FastV.for_average(144, 144, 12)),
    "positions and flags": (
        {"method": "v2drop", "left": {1: 9}, "positions": "repack", "protect": "[0, 2]"},
        V2Drop(Schedule({1: 9}), positions="repack", protect=(0, 2)),
    ),
}


@pytest.mark.parametrize("case", GIVEN)
def test_words_name_what_python_names(embedded, case):
    words, method = GIVEN[case]
    assert method_choice(**words).method_for(embedded, 144) == method


@pytest.mark.parametrize("name", [name for name in METHODS if name != "composed"])
def test_nothing_said_is_the_method_as_released(embedded, name):
    choice = method_choice(name)
    assert choice.method_for(embedded, 144) == METHODS[name].default(embedded.model) and not choice.by_prompt
    choice.check(embedded)


def test_an_average_in_tokens_is_solved_for_every_prompt_and_a_share_once(embedded):
    tokens, share = method_choice("v2drop", average=48), method_choice("v2drop", average=1 / 3)
    for n in (100, 144, 576):
        assert tokens.method_for(embedded, n).schedule.average(n, 12) == pytest.approx(48, abs=0.6)
        assert share.method_for(embedded, n).schedule.average(n, 12) == pytest.approx(n / 3, abs=1)
    assert tokens.by_prompt and not share.by_prompt
    assert share.method_for(embedded, 100) == share.method_for(embedded, 576)


def test_a_preset_is_the_schedule_of_its_source(embedded):
    choice = method_choice("v2drop", preset="llava-1.5-7b", budget=192)
    assert choice.preset == PRESET and choice.method_for(embedded, 144) == V2Drop(PRESET)
    with pytest.raises(ValueError, match="layers"):
        choice.check(embedded)  # it has no layer 17


def test_none_drops_nothing_and_no_tokens_need_no_method(embedded):
    assert method_choice(NO_METHOD).method_for(embedded, 144) is None
    assert method_choice("v2drop", average=48).method_for(embedded, 0) is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"method": "fastvv"}, r"method must be one of 'none', 'v2drop', .*; got 'fastvv'"),
        (
            {"method": "fastv", "metrik": "l2"},
            r"no argument 'metrik' of the model, nor of the method 'fastv', which has protect",
        ),
        ({"method": "fastv", "metric": "l2"}, r"no argument 'metric'"),
        ({"method": "none", "average": 48}, r"method=none drops nothing .* got average"),
        ({"method": "fastv", "average": 48.0}, r"average, unless it is an int .* from 0 to 1; got 48\.0"),
        ({"method": "fastv", "average": "many"}, r"average must be an int of 1 or more; got 'many'"),
        ({"method": "fastv", "average": 48, "left": "{1: 9}"}, r"average, with layers or depths or neither, or else"),
        ({"method": "fastv", "layers": "[1, 2]"}, r"a method needs average"),
        ({"method": "fastv", "average": 48, "layers": "[1, "}, r"layers must be a list or a dictionary.*'\[1, '"),
        ({"method": "fastv", "preset": "llava-1.5-7b"}, r"needs preset and budget.*got preset=llava-1\.5-7b"),
        ({"method": "fastv", "preset": "x", "budget": 1, "average": 3}, r"without average, layers and left"),
        ({"method": "v2drop", "left": "[12]"}, r"left must map layers"),
        ({"method": "v2drop", "left": "{'a': 1}"}, r"layer.*'a'"),
        ({"method": "v2drop", "layers": 3.5, "average": 48}, r"layers must be a list of different ints"),
        ({"method": "fastv", "preset": "x", "budget": 1}, r"no paper or released code defines 'x' at 1"),
    ],
)
def test_wrong_words_are_refused_in_one_line(words, said, without_type_checker):
    with pytest.raises(ValueError, match=said) as error:
        method_choice(**words)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"method": "v2drop", "metric": "l3"}, "metric"),
        ({"method": "v2drop", "left": "{12: 9}"}, "layer"),
        ({"method": "v2drop", "average": 48, "layers": "[12]"}, "layer"),
    ],
)
def test_what_is_wrong_for_every_prompt_is_refused_before_the_first(embedded, words, said, without_type_checker):
    with pytest.raises(ValueError, match=said):
        method_choice(**words).check(embedded)


def test_a_method_that_reads_a_tower_is_refused_without_one():
    loaded = Loaded("tiny", zoo.model("qwen2_5_vl"), zoo.processor("qwen2_5_vl"))
    with pytest.raises(ValueError, match="FasterVLM reads the vision tower"):
        MethodChoice("fastervlm", {}, left={0: 2}).check(loaded)


def test_an_average_that_cannot_be_reached_says_so(embedded):
    with pytest.raises(ValueError, match="an average of 5 cannot be reached"):
        method_choice("v2drop", average=5).method_for(embedded, 144)
