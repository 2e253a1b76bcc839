"""Under lmms-eval itself, offline: POPE's own YAML and metrics, choices, rounds and videos, equal to `analysis`."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

pytest.importorskip("lmms_eval", reason="lmms-eval has a CI job of its own")

from lmms_eval.api.instance import Instance
from lmms_eval.evaluator import simple_evaluate
from lmms_eval.models import get_model
from lmms_eval.tasks import TaskManager

from analysis import accuracy, load, methods_at_average
from analysis.lmms.model import V2DropModel, _own, read_frames
from analysis.models.loading import EMBEDDED
from tests.support import zoo
from tests.support.mosaic_pope import write_task, yes_or_no
from tests.support.mosaic_tasks import film, write_others
from v2drop import Schedule, V2Drop

TOP = Path(__file__).parents[3]
PAIRS = yes_or_no(24)
RUN = """
from v2drop.models.torchvision_ops import usable
usable()
from lmms_eval.__main__ import cli_evaluate
cli_evaluate()
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = write_task(tmp_path_factory.mktemp("tasks"), PAIRS)
    write_others(folder)
    return folder


def evaluated(model, tasks, name):
    manager = TaskManager("ERROR", include_path=str(tasks), model_name="v2drop")
    found = simple_evaluate(model, tasks=[name], task_manager=manager, batch_size=7, bootstrap_iters=0)
    return found, sorted(found["samples"][name], key=lambda each: each["doc_id"])


def model(method, **told):
    return V2DropModel(str(EMBEDDED), method, device="cpu", batch_size=7, **told)


def at_48(name):
    return methods_at_average(48, 144, 12, [name])[name]


@pytest.mark.parametrize("name", ["none", "v2drop", "fastv", "sparsevlm", "tome", "random"])
def test_pope_is_what_analysis_says_of_the_same_questions(embedded, tasks, name):
    told = {} if name == "none" else {"average": 48}
    found, samples = evaluated(model(name, **told), tasks, "pope_mosaic")
    ours = accuracy(embedded, PAIRS, {name: at_48(name) if told else None})
    assert [each["pope_accuracy"]["prediction"] for each in samples] == ours.reply.tolist()
    scores = found["results"]["pope_mosaic"]
    assert scores["pope_accuracy,none"] == pytest.approx((ours.reply == ours.answer).mean())
    wanted, said = ours.answer == "yes", ours.reply == "yes"
    assert scores["pope_recall,none"] == pytest.approx((wanted & said).sum() / wanted.sum())
    assert scores["pope_precision,none"] == pytest.approx((wanted & said).sum() / said.sum())
    assert [each["token_counts"][0]["layer_average"] for each in samples] == ours.average_tokens.tolist()
    assert found["throughput"]["avg_layer_average"] == pytest.approx(ours.average_tokens.mean())
    if told:
        left = at_48(name).schedule.after(144)
        written = "; ".join(f"{layer}: {count}" for layer, count in left.items())
        assert {each["token_counts"][0]["schedule"] for each in samples} == {written}
        assert {k: found["throughput"][f"avg_left_from_layer_{k}"] for k in left} == left


def test_the_same_model_can_be_evaluated_again(tasks):
    kept = model("v2drop", average=48)
    first, second = (evaluated(kept, tasks, "pope_mosaic") for _ in range(2))
    assert first[0]["results"] == second[0]["results"] and first[1] == second[1]


@pytest.mark.parametrize("name", ["none", "v2drop"])
def test_the_likeliest_choice_is_taken(embedded, tasks, name):
    told = {} if name == "none" else {"average": 48}
    found, samples = evaluated(model(name, **told), tasks, "choices_mosaic")
    ours = accuracy(embedded, PAIRS, {name: at_48(name) if told else None})
    assert found["results"]["choices_mosaic"]["acc,none"] == pytest.approx((ours.reply == ours.answer).mean())
    assert set(ours.reply) == {"yes", "no"}
    places = [["yes", "no"].index(answer) for answer in ours.answer]
    log_p = [-each["filtered_resps"][place][0] for each, place in zip(samples, places, strict=True)]
    assert log_p == pytest.approx(ours.log_probability.tolist(), abs=1e-5)


def test_a_target_that_is_no_choice_gets_its_log_probability(embedded):
    scene, question = PAIRS[0]
    kept = model("none")
    kept.task_dict = {"mine": {"test": [question]}}
    shown = [PIL.Image.fromarray(scene.image)]
    metadata = {"task": "mine", "doc_id": 0, "repeats": 1}
    arguments = (question.text, lambda doc: doc.answer, lambda doc: shown, 0, "mine", "test")
    (said,) = kept.loglikelihood([Instance("loglikelihood", arguments, 0, metadata)])
    ours = accuracy(embedded, PAIRS[:1], {"plain": None})
    assert said.text[0] == pytest.approx(ours.log_probability[0], abs=1e-5)
    assert said.text[1] == (ours.reply[0] == ours.answer[0])


def test_rounds_are_asked_until_the_task_is_done(embedded, tasks):
    found, samples = evaluated(model("fastv", average=48), tasks, "rounds_mosaic")
    ours = accuracy(embedded, PAIRS, {"fastv": at_48("fastv")}).reply.tolist()
    assert [each["replies"] for each in samples] == [f"{reply} {reply}" for reply in ours]
    assert found["throughput"]["avg_layer_average"] == pytest.approx(47.75)


def test_the_frames_of_a_video_are_spread_evenly(tmp_path):
    for name in ("film.mp4", "film.mkv"):
        shades = film(tmp_path / name, n=20)
        for most, expected in ((4, [0, 6, 12, 19]), (40, range(20))):
            frames = read_frames(str(tmp_path / name), most)
            assert frames.dtype == np.uint8 and frames.shape[1:] == (32, 48, 3)
            assert [int(np.abs(np.subtract(shades, frame.mean())).argmin()) for frame in frames] == list(expected)


def test_a_film_is_decoded_and_dropped_from(tasks, tmp_path):
    zoo.model("qwen2_vl").save_pretrained(tmp_path)
    zoo.processor("qwen2_vl").save_pretrained(tmp_path)
    kept = V2DropModel(str(tmp_path), "v2drop", device="cpu", batch_size=5, max_frames_num=4, left={1: 0.5})
    _, samples = evaluated(kept, tasks, "film_mosaic")
    frames, loaded = read_frames(str(tasks / "film.mp4"), 4), load(tmp_path)
    for each, (_, question) in zip(samples, PAIRS, strict=True):
        inputs = loaded.inputs(None, [question.text], [frames])
        with V2Drop(Schedule({1: 0.5}))(loaded.model) as trace:
            out = loaded.model.generate(**inputs, max_new_tokens=8, do_sample=False)
        reply = loaded.processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        assert each["replies"] == reply.strip()
        assert each["token_counts"][0]["layer_average"] == trace.average_tokens > 0


def test_the_command_line_writes_averages_and_schedules(tasks, tmp_path):
    told = f"pretrained={EMBEDDED},method=v2drop,average=48,layers=[2,5],metric=cosine"
    given = {"model": "v2drop", "model_args": told, "include_path": tasks, "tasks": "pope_mosaic", "batch_size": 8}
    given |= {"device": "cpu", "output_path": tmp_path}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    done = subprocess.run([sys.executable, "-c", RUN, *words, "--log_samples"], capture_output=True, text=True, cwd=TOP)
    (results,), (samples,) = tmp_path.rglob("*_results.json"), tmp_path.rglob("*_samples_pope_mosaic.jsonl")
    found = json.loads(results.read_text())
    assert found["throughput"]["avg_layer_average"] == pytest.approx(48, abs=0.5), done.stdout + done.stderr
    schedule = V2Drop(Schedule.for_average(48, (2, 5), 144, 12)).schedule.left
    said = [json.loads(line)["token_counts"][0] for line in samples.read_text().splitlines()]
    assert [each["schedule"] for each in said] == [f"2: {schedule[2]}; 5: {schedule[5]}"] * len(PAIRS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("method=fastvv", "method must be one of"),
        ("method=fastv,avrage=48", "no argument 'avrage'"),
        ("method=fastv,batch_size=auto", "batch_size must be an int"),
        ("method=v2drop,left={40:3}", "layer"),
        ("method=fastv,max_frames_num=0", "max_frames_num must be an int of 1 or more"),
        ("method=fastv,dtype=float8", "dtype must be"),
        ("pretrained=/nowhere/at/all", "/nowhere/at/all"),
    ],
)
def test_wrong_arguments_are_told_in_a_line(arguments, said):
    with pytest.raises(ValueError, match=said) as error:
        get_model("v2drop").create_from_arg_string(arguments, {"device": "cpu"})
    assert "\n" not in str(error.value)


def test_each_process_takes_a_device_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [_own(device) for device in (None, "cuda", "cuda:1", "cpu")] == [None, "cuda", "cuda:1", "cpu"]
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [_own(device) for device in (None, "cuda", "cuda:1", "cpu")] == ["cuda:3", "cuda:3", "cuda:1", "cpu"]


def test_the_tasks_of_the_readme_exist():
    text = (TOP / "README.md").read_text() + (TOP / "analysis" / "README.md").read_text()
    named = {name for line in re.findall(r"--tasks (\S+)", text) for name in line.split(",")}
    assert len(named) >= 7 and named <= set(TaskManager("ERROR").all_tasks)
