"""Requests of lmms-eval get what `analysis.accuracy` and the model itself give, whatever is in a batch, in order."""

import numpy as np
import pytest
import torch
from PIL import Image

from analysis import accuracy, methods_at_average, sample
from analysis.lmms.asking import Asking
from analysis.lmms.method_choice import method_choice
from analysis.lmms.records import of_run
from analysis.lmms.requests import Request, Requests
from analysis.models.loaded import Loaded
from tests.support import zoo
from tests.support.zoo_processors import PROCESSORS
from v2drop import METHODS, Schedule, V2Drop

PAIRS = sample(20, seed=5)
DRAW = np.random.default_rng(0)
SMALL, WIDE, TALL = (
    Image.fromarray(DRAW.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in ((16, 16), (24, 40), (48, 16))
)


def server(loaded, size, method, read=np.load, **words):
    return Requests(Asking(loaded, method_choice(method, **words)), size, read)


def request(text, visuals, task="pope", **told):
    return Request(task, text, lambda: visuals, {"max_new_tokens": 8} | told)


def about_mosaics(pairs=PAIRS, **told):
    return [request(question.text, [Image.fromarray(scene.image)], **told) for scene, question in pairs]


@pytest.mark.parametrize("name", ["none", *(name for name, kind in METHODS.items() if not kind.needs_frames)])
def test_replies_and_averages_are_those_of_accuracy(embedded, name):
    told = {} if name == "none" else {"average": 48}
    said = server(embedded, 7, name, **told).replies(about_mosaics())
    method = methods_at_average(48, 144, 12, [name])[name] if told else None
    ours = accuracy(embedded, PAIRS, {name: method})
    assert [text for text, _ in said] == ours.reply.tolist()
    assert [tokens.layer_average for _, tokens in said] == ours.average_tokens.tolist()
    if told:
        assert [tokens.left for _, tokens in said] == [method.schedule.after(144)] * 20


@pytest.mark.parametrize("name", ["none", "v2drop", "random"])
def test_likelihoods_are_those_of_accuracy(embedded, name):
    told = {} if name == "none" else {"average": 48}
    answers = [f" {question.answer}" for _, question in PAIRS]
    said = server(embedded, 7, name, **told).likelihoods(about_mosaics(), answers)
    method = methods_at_average(48, 144, 12, [name])[name] if told else None
    ours = accuracy(embedded, PAIRS, {name: method})
    found = [likelihood.log_probability for likelihood, _ in said]
    assert found == pytest.approx(ours.log_probability.tolist(), abs=1e-5)
    greedy = [likelihood.is_greedy for likelihood, _ in said]
    assert greedy == [reply == answer for reply, answer in zip(ours.reply, ours.answer, strict=True)]
    assert sum(greedy) < len(greedy) or not told


@pytest.mark.parametrize("method", [None, V2Drop(Schedule({1: 2}))], ids=str)
def test_a_likelihood_of_several_tokens_is_that_of_one_forward_pass(method):
    loaded = family("llava")
    asked, answers = [request("is it so", [WIDE]), request("what", [SMALL])], ["yes", "not at all"]
    words = {"method": "none"} if method is None else {"method": "v2drop", "left": {1: 2}}
    for (found, _), each, answer in zip(
        server(loaded, 2, **words).likelihoods(asked, answers), asked, answers, strict=True
    ):
        inputs = loaded.inputs(each.visuals(), [each.text])
        ids = torch.tensor([loaded.answer_ids(each.text, answer)])
        start = inputs["input_ids"].shape[1]
        inputs["input_ids"] = torch.cat([inputs["input_ids"], ids], 1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        with method(loaded.model) if method else torch.no_grad():
            logits = loaded.model(**inputs).logits[0, start - 1 : -1].double()
        log_p = logits.log_softmax(-1).gather(1, ids.T).sum()
        assert found.log_probability == pytest.approx(float(log_p), abs=1e-4) and ids.shape[1] > 1
        assert found.is_greedy == bool((logits.argmax(-1) == ids[0]).all())


def test_a_greedy_answer_is_found(embedded):
    said = server(embedded, 9, "none").replies(about_mosaics())
    again = server(embedded, 9, "none").likelihoods(about_mosaics(), [text for text, _ in said])
    assert all(likelihood.is_greedy for likelihood, _ in again)


def test_stop_texts_and_settings_of_single_requests_are_kept_apart(embedded):
    free = [text for text, _ in server(embedded, 5, "none").replies(about_mosaics())]
    cut = about_mosaics()
    cut[3] = cut[3]._replace(gen_kwargs={"max_new_tokens": 8, "until": [free[3][-1:]]})
    said = [text for text, _ in server(embedded, 5, "none").replies(cut)]
    assert said[3] == free[3][: free[3].index(free[3][-1:])] != free[3]
    assert said[:3] + said[4:] == free[:3] + free[4:]


def test_tokens_of_replies_are_counted_without_the_end(embedded):
    said = server(embedded, 20, "none").replies(about_mosaics())
    assert {tokens.output for _, tokens in said} == {1} and {tokens.vision for _, tokens in said} == {144}
    assert [tokens.prompt - 144 for _, tokens in said] == [len(question.text.split()) + 1 for _, question in PAIRS]


def test_beams_give_one_reply_and_one_average_each(embedded):
    said = server(embedded, 4, "v2drop", average=48).replies(about_mosaics(PAIRS[:4], num_beams=3))
    average = V2Drop.for_average(48, 144, 12).schedule.average(144, 12)
    assert [tokens.layer_average for _, tokens in said] == [average] * 4


def family(name):
    return Loaded(name, zoo.model(name, zoo.operators(name)[-1]), zoo.processor(name))


def lengthless(said):
    """Without the length of replies: the tiny models have no token to fill the rest of a row with."""
    return [(text, tokens._replace(output=0)) for text, tokens in said]


@pytest.mark.parametrize("name", PROCESSORS)
def test_every_family_answers_a_mix_as_each_request_alone(name):
    clip = DRAW.integers(0, 256, (zoo.FRAMES.get(name, 4), 32, 48, 3), dtype=np.uint8)
    shown = [[SMALL], [WIDE, TALL], [TALL]]
    shown += [] if name.startswith("paligemma") else [None, []]
    shown += [["a.mp4"], ["a.mp4"]] if "video" in zoo.kinds(name) else []
    asked = [request("abcdefgh"[: i + 1], each, max_new_tokens=3, until="q") for i, each in enumerate(shown)]
    together = server(family(name), 4, "v2drop", lambda _: clip, left={1: 0.5})
    said = lengthless(together.replies(asked))
    assert said == [lengthless(together.replies([each]))[0] for each in asked]
    for (_, tokens), each in zip(said, shown, strict=True):
        assert bool(tokens.vision) == bool(each) and tokens.layer_average <= tokens.vision
        assert tokens.left == ({1: tokens.vision // 2} if each else {})
    likely = lengthless(together.likelihoods(asked, ["xy"] * len(asked)))
    assert [tokens for _, tokens in likely] == [tokens for _, tokens in said]


def test_an_average_in_tokens_holds_for_prompts_of_different_lengths():
    asked = [request("a", each) for each in ([SMALL], [WIDE], [WIDE, TALL], [SMALL])]
    said = [tokens for _, tokens in server(family("llava"), 4, "v2drop", average=9).replies(asked)]
    assert [tokens.vision for tokens in said] == [16, 16, 32, 16]
    assert [tokens.layer_average for tokens in said] == pytest.approx([9, 9, 9, 9], abs=0.6)


def test_rounds_go_on_until_each_task_is_done(embedded):
    asked = about_mosaics(PAIRS[:3])
    heard = []

    def following(i):
        def after(previous_output, round_idx, previous_round_info):
            heard.append((i, round_idx, len(previous_output), previous_round_info))
            done = round_idx > i
            scene, question = PAIRS[i + round_idx]
            return [Image.fromarray(scene.image)], question.text, done, previous_output, f"told {round_idx}"

        return after

    outputs, tokens = server(embedded, 2, "fastv", average=48).rounds(asked, [following(i) for i in range(3)])
    flat = accuracy(embedded, PAIRS, methods_at_average(48, 144, 12, ["fastv"])).reply.tolist()
    assert outputs == [flat[i : i + i + 1] for i in range(3)] and len(tokens) == 1 + 2 + 3
    assert sorted(heard) == [(i, n, n, f"told {n - 1}" if n > 1 else None) for i in range(3) for n in range(1, i + 2)]


@pytest.mark.parametrize("shown", [[{"array": [0.0]}], ["a.mp4", "b.mp4"]])
def test_what_is_neither_picture_nor_video_is_refused(embedded, shown):
    with pytest.raises(ValueError, match="must show pictures or the path of one video"):
        server(embedded, 1, "none", lambda _: None).replies([request("what", shown)])


def test_means_of_a_run_without_pictures_are_left_out(embedded):
    said = server(embedded, 2, "v2drop", average=48).replies([request("how many digits", None)])
    assert of_run([tokens for _, tokens in said]) == {}
