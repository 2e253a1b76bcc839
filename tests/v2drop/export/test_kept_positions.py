"""Files of kept positions say what a trace says, in lists of each prompt's own, and nothing else is read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.support.fitted_methods import fitted
from v2drop import METHODS, DyCoke, Schedule, Trace, Uniform, V2Drop
from v2drop.contract.toys import LAYERS, batch, toy
from v2drop.export import KeptPositions, KeptPrompt, files, kept_positions, read_kept, write_kept

ROWS = {"llava": ["titttt", "tit", "ittittt", "tttt", "i"], "llama": ["tvvvvvvttt", "vvvv", "ttttt", "tvtvtvt"]}
TOP = Path(__file__).parents[3]


def exported(method, family="llama", side="left"):
    data = batch(family, ROWS[family], side)
    with method(toy(family), **data.options) as trace:
        toy(family)(**data.inputs, position_ids=data.positions)
    return kept_positions(trace, method), trace, data


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if not kind.merges_tokens])
def test_a_prompt_of_a_batch_is_said_as_alone(name, side):
    """By plain loops over the padded rows, for every method that only drops."""
    if METHODS[name].trims_caches:
        pytest.skip("it changes caches")
    family = "llava" if METHODS[name].needs_tower or METHODS[name].needs_frames else "llama"
    kept, trace, data = exported(fitted(name, {1: 0.4, 3: 0.2}), family, side)
    assert kept.n_layers == LAYERS and kept.average_tokens == pytest.approx(trace.average_tokens)
    for row, prompt in enumerate(kept.prompts):
        place, at = {}, 0
        for column in range(data.present.shape[1]):
            if data.present[row, column]:
                place[column], at = at, at + 1
        vision = [place[c] for c in data.vision[row].nonzero().flatten().tolist() if c != data.last[row]]
        assert (prompt.length, list(prompt.vision)) == (at, vision)
        for layer, left in prompt.kept.items():
            assert list(left) == [place[c] for c in trace.kept[layer][row].tolist() if c >= 0 and vision]
        assert prompt.tokens(LAYERS) == [counts[row] for counts in trace.vision_tokens]
    if side == "left":  # on the right, the engine keeps a last column of padding, too
        rows = [prompt.lengths(LAYERS) for prompt in kept.prompts]
        assert [max(each) for each in zip(*rows, strict=True)] == trace.lengths


@pytest.mark.parametrize("end", files.ENDS)
def test_what_is_written_is_read(tmp_path, end):
    for method in (V2Drop(Schedule({1: 4, 3: 0.3}, label="mine", least=2), positions=(1, 2)), Uniform(Schedule({}))):
        kept, *_ = exported(method)
        write_kept(tmp_path / "deeper" / f"kept{end}", kept)
        again = read_kept(str(tmp_path / "deeper" / f"kept{end}"))
        assert again == kept and again.schedule.label == kept.schedule.label
        assert [path.name for path in (tmp_path / "deeper").iterdir()] == [f"kept{end}"]


@st.composite
def any_kept(draw):
    """Arguments, for the type checker draws at random when they are used."""
    layers = sorted(draw(st.sets(st.integers(0, 5), max_size=3)))
    prompts = []
    for _ in range(draw(st.integers(1, 4))):
        length = draw(st.integers(0, 12))
        left = sorted(draw(st.sets(st.integers(0, max(0, length - 1)), max_size=length)))
        vision, kept = left, {}
        for layer in layers:
            left = [position for position in left if draw(st.booleans())]
            kept[layer] = left
        prompts.append((length, vision, kept))
    amounts = sorted(draw(st.lists(st.integers(0, 9), min_size=len(layers), max_size=len(layers))), reverse=True)
    positions = draw(st.sampled_from(["keep", "repack", (1, 4)]))
    return prompts, dict(zip(layers, amounts, strict=True)), positions


@given(any_kept(), st.sampled_from(files.ENDS))
def test_any_lists_come_back(tmp_path_factory, told, end):
    prompts, left, positions = told
    kept = KeptPositions("Any", Schedule(left), positions, 6, [KeptPrompt(*prompt) for prompt in prompts])
    path = tmp_path_factory.mktemp("any") / f"kept{end}"
    write_kept(path, kept)
    assert read_kept(path) == kept


def test_both_files_worked_out_by_hand(tmp_path):
    """Two prompts of two layers: t v v t with one token left, and t t."""
    prompts = [KeptPrompt(4, [1, 2], {1: [2]}), KeptPrompt(2, [], {1: []})]
    kept = KeptPositions("Mine", Schedule({1: 1}), "keep", 2, prompts)
    for end in files.ENDS:
        write_kept(tmp_path / f"kept{end}", kept)
    assert json.loads((tmp_path / "kept.json").read_text()) == {
        "format": "v2drop.kept_positions",
        "version": 1,
        "method": "Mine",
        "schedule": {"left": {"1": 1}, "least": 0, "label": ""},
        "positions": "keep",
        "n_layers": 2,
        "average_tokens": 1.5,
        "prompts": [
            {"length": 4, "vision": [1, 2], "kept": {"1": [2]}, "lengths": [4, 3]},
            {"length": 2, "vision": [], "kept": {"1": []}, "lengths": [2, 2]},
        ],
    }
    tensors = load_file(tmp_path / "kept.safetensors")
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {
        "length": [4, 2],
        "lengths": [[4, 3], [2, 2]],
        "vision": [1, 2],
        "vision.splits": [0, 2, 2],
        "kept.1": [2],
        "kept.1.splits": [0, 1, 1],
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told | {"version": 2},
        lambda told: told | {"format": "other"},
        lambda told: told | {"average_tokens": 3.0},
        lambda told: told | {"n_layers": 0},
        lambda told: told | {"positions": "sideways"},
        lambda told: told | {"schedule": {"left": {"1": 1, "2": 5}, "least": 0, "label": ""}},
        lambda told: told | {"schedule": {"left": {"0": 1}, "least": 0, "label": ""}},
        lambda told: told | {"prompts": []},
        lambda told: told | {"prompts": 3},
        lambda told: {name: value for name, value in told.items() if name != "method"},
        lambda told: [told],
        lambda told: with_prompt(told, length=-1),
        lambda told: with_prompt(told, length=3),
        lambda told: with_prompt(told, vision=[2, 1]),
        lambda told: with_prompt(told, vision=[1, 1]),
        lambda told: with_prompt(told, vision=[1, 9]),
        lambda told: with_prompt(told, vision="12"),
        lambda told: with_prompt(told, kept={"1": [3]}),
        lambda told: with_prompt(told, kept={"1": [-1, 2]}),
        lambda told: with_prompt(told, kept={"1": [2.5]}),
        lambda told: with_prompt(told, kept={"0": [2]}),
        lambda told: with_prompt(told, kept={"one": [2]}),
        lambda told: with_prompt(told, kept=[2]),
        lambda told: with_prompt(told, lengths=[5, 4]),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, change):
    path = tmp_path / "kept.json"
    write_kept(path, KeptPositions("Mine", Schedule({1: 1}), "keep", 2, [KeptPrompt(5, [1, 2, 4], {1: [2]})]))
    told = json.loads(path.read_text())
    assert change(dict(told)) != told
    path.write_text(json.dumps(change(told)))
    with pytest.raises(ValueError, match="path must be a file of kept positions; got .*kept.json'"):
        read_kept(path)


def with_prompt(told, **changes):
    return told | {"prompts": [told["prompts"][0] | changes]}


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, head: (tensors | {"vision.splits": torch.tensor([0, 1], dtype=torch.int32)}, head),
        lambda tensors, head: (tensors | {"vision.splits": torch.tensor([0, 1, 3], dtype=torch.int32)}, head),
        lambda tensors, head: (tensors | {"vision.splits": torch.zeros(0, dtype=torch.int32)}, head),
        lambda tensors, head: (tensors | {"vision": tensors["vision"].long()}, head),
        lambda tensors, head: (tensors | {"lengths": tensors["lengths"][:0]}, head),
        lambda tensors, head: ({name: tensors[name] for name in tensors if name != "kept.1.splits"}, head),
        lambda tensors, head: (tensors, head | {"version": "2"}),
        lambda tensors, head: (tensors, None),
    ],
)
def test_tensors_that_contradict_themselves_are_refused(tmp_path, change):
    path = tmp_path / "kept.safetensors"
    write_kept(path, KeptPositions("Mine", Schedule({1: 1}), "keep", 2, [KeptPrompt(5, [1, 2, 4], {1: [2]})]))
    with safe_open(path, "pt") as file:
        head = file.metadata()
    save_file(*change(load_file(path), head)[:1], path, change(load_file(path), head)[1])
    with pytest.raises(ValueError, match="path must be a file of kept positions"):
        read_kept(path)


@pytest.mark.parametrize("end", files.ENDS)
def test_damaged_files_are_refused_and_nothing_half_written_is_left(tmp_path, end, monkeypatch):
    kept, *_ = exported(V2Drop(Schedule({1: 4})))
    path = tmp_path / f"kept{end}"
    write_kept(path, kept)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-20], b"\x00" * len(whole), b"\xff\xfe"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="path must be a file of kept positions"):
            read_kept(path)
    path.write_bytes(whole)
    monkeypatch.setattr(files.os, "replace", raise_error)
    with pytest.raises(ValueError, match="path must be a file that can be written"):
        write_kept(path, kept)
    assert [each.name for each in tmp_path.iterdir()] == [path.name] and path.read_bytes() == whole


def raise_error(*_):
    raise OSError("no room")


@pytest.mark.parametrize("path", ["kept.txt", "kept", 3, None])
def test_other_names_are_refused(path, without_type_checker):
    for ask in (lambda: read_kept(path), lambda: write_kept(path, None)):
        with pytest.raises(ValueError, match="must be a file whose name ends in .json or .safetensors"):
            ask()


def test_what_positions_cannot_say_is_refused():
    for name in (name for name, kind in METHODS.items() if kind.merges_tokens or kind.trims_caches):
        with pytest.raises(ValueError, match="merges tokens or changes caches"):
            kept_positions(Trace(), fitted(name, {1: 4}))
    with pytest.raises(ValueError, match="merges tokens or changes caches"):
        kept_positions(Trace(), DyCoke(Schedule({0: 0.6}), visible_share=0.4))
    with pytest.raises(ValueError, match="the trace is empty"):
        kept_positions(Trace(), V2Drop(Schedule({1: 4})))


PLAIN = """
import importlib.util, json, sys
import torch
from safetensors.torch import load_file

found = importlib.util.spec_from_file_location("mending", sys.argv[1])  # torchvision may not fit
mending = importlib.util.module_from_spec(found)
found.loader.exec_module(mending)
names = mending.usable()
sys.modules["v2drop"] = sys.modules["analysis"] = None  # may not be imported
from transformers import LlavaForConditionalGeneration

model = LlavaForConditionalGeneration.from_pretrained(sys.argv[2])
inputs = load_file("inputs.safetensors")
told = json.load(open("kept.json"))
for row, prompt in enumerate(told["prompts"]):
    ids = inputs["input_ids"][row][inputs["attention_mask"][row].bool()][None]
    embeds = model.get_input_embeddings()(ids).detach()
    pictures = model.get_image_features(pixel_values=inputs["pixel_values"][row : row + 1]).pooler_output
    embeds[ids == model.config.image_token_id] = torch.cat(list(pictures))
    dropped = {*prompt["vision"]} - {*prompt["kept"]["0"]}
    left = [position for position in range(prompt["length"]) if position not in dropped]
    at = torch.arange(len(left)) if told["positions"] == "repack" else torch.tensor(left)
    logits = model(inputs_embeds=embeds[:, left], position_ids=at[None]).logits
    print(len(left), (logits[0, -1] - inputs["expected"][row]).abs().max().item())
"""


@pytest.mark.parametrize("positions", ["keep", "repack"])
@pytest.mark.parametrize("name", ["fastervlm", "divprune"])
def test_a_process_without_this_package_gets_the_same_logits(embedded, tmp_path, name, positions):
    from analysis import sample

    questions = sample(3)
    inputs = embedded.inputs([scene.image for scene, _ in questions], [question.text for _, question in questions])
    method = METHODS[name](Schedule({0: 40}), positions=positions)
    with torch.no_grad(), method(embedded.model) as trace:
        logits = embedded.model(**inputs).logits
    write_kept(tmp_path / "kept.json", kept_positions(trace, method))
    last = [int(row.nonzero().max()) for row in inputs["attention_mask"]]
    expected = torch.stack([logits[row, column] for row, column in enumerate(last)])
    save_file({**inputs, "expected": expected}, tmp_path / "inputs.safetensors")
    mending = str(TOP / "v2drop" / "models" / "torchvision_ops.py")
    command = [sys.executable, "-c", PLAIN, mending, embedded.name]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    lengths = inputs["attention_mask"].sum(1).tolist()
    assert [int(left) for left, _ in rows] == [length - 144 + 40 for length in lengths]
    assert max(float(off) for _, off in rows) < 1e-4
