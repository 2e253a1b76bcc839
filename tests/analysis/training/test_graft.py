"""The graft's recipe: what is trained is what is saved, and what is saved is what is asked."""

import sys

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from analysis import accuracy, load, sample, scored
from analysis.models.checkpoints import folders, graft
from analysis.training import graft as recipe
from analysis.training.chat_packing import chat_slots
from analysis.training.graft_stages import Graft, answer_loss, states_behind
from analysis.training.low_rank import ATTENTION, LowRank, add_low_rank
from tests.support import tiny_smollm2


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """SmolLM2's folder with a tiny model in it."""
    folder = tmp_path / "smollm2"
    tiny_smollm2.write(folder)
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(folders, "SMOLLM2", folder)
    return tmp_path


def trained(names=recipe.EVERYWHERE):
    """A model under training whose low-rank parts are not zero any more."""
    torch.manual_seed(1)
    model = Graft(names, "cpu")
    with torch.no_grad():
        for each in model.updates.values():
            each.up.normal_(std=0.05)
    return model


def test_a_low_rank_part_begins_at_zero_and_is_a_product():
    linear = torch.nn.Linear(6, 4, bias=False)
    part, x = LowRank(linear, rank=2), torch.randn(3, 6)
    torch.testing.assert_close(part(x), linear(x))
    with torch.no_grad():
        part.up.copy_(torch.tensor([[1.0, 0], [0, 1], [0, 0], [0, 0]]))
    torch.testing.assert_close(part(x), x @ (linear.weight + graft.SCALE * part.up @ part.down).T)


def test_only_the_named_maps_get_a_part(tiny):
    decoder = graft.untrained().model.language_model
    added = add_low_rank(decoder, ATTENTION)
    assert sorted({path.rpartition(".")[2] for path in added}) == sorted(ATTENTION) and len(added) == 8
    learnt = {name for name, p in decoder.named_parameters() if p.requires_grad}
    assert learnt == {f"{path}.{part}" for path in added for part in ("down", "up")}


def test_questions_packed_for_training_are_those_of_the_finished_model(tiny):
    model, questions = trained(), sample(4)
    scenes = [scene for scene, _ in questions]
    slots = chat_slots(scenes, 0, model.words, ("what", "where"))
    with torch.no_grad():
        states = states_behind(model, model.features(scenes), slots)[:, -sum(slots.slots) :]
        packed = F.linear(states, model.decoder.embed_tokens.weight)
    recipe.write(model, tiny / "out")
    loaded = load(tiny / "out")
    for row, scene in enumerate(scenes):
        for start, slot in zip((0, slots.slots[0]), slots.slots, strict=True):
            labels = slots.labels[row, start : start + slot]
            first = int((labels != -100).nonzero()[0])
            text = loaded.processor.decode(slots.tokens[row, start : start + first + 1]).partition("<|im_end|>")[0]
            inputs = loaded.inputs([scene.image], [text])
            logits = loaded.model(**inputs, logits_to_keep=1).logits[0, -1]
            # What was saved has 16 bits.
            torch.testing.assert_close(logits, packed[row, start + first], rtol=0.05, atol=0.05)
            answer = [int(label) for label in labels[labels != -100]]
            spelt = loaded.processor.decode(answer).partition("<|im_end|>")[0]
            assert answer == [*loaded.answer_ids(text, spelt), loaded.processor.tokenizer.eos_token_id]


def test_a_graft_is_an_ordinary_llava(tiny):
    recipe.write(trained(), tiny / "out")
    loaded = load(tiny / "out", attn_implementation="eager")
    assert type(loaded.model).__name__ == "LlavaForConditionalGeneration" and loaded.n_layers == 2
    assert not any(p.requires_grad for p in loaded.model.parameters()) and not loaded.model.training
    assert loaded.model.lm_head.weight is loaded.model.get_input_embeddings().weight
    assert loaded.model.config._attn_implementation == "eager"
    assert len(accuracy(loaded, sample(2), {"none": None})) == 2
    assert len(scored(loaded, sample(2), [0])) == 288
    half = load(tiny / "out", dtype="bfloat16")
    assert half.model.dtype == torch.bfloat16
    with pytest.raises(ValueError, match="device_map must be None"):
        load(tiny / "out", device_map="auto")


def test_the_text_of_an_untrained_graft_is_smollm2s(tiny):
    ids = torch.tensor([[5, 9, 200, 31]])
    alone = load(tiny / "smollm2").model(ids).logits
    torch.testing.assert_close(graft.untrained().eval()(ids).logits, alone)


def test_without_smollm2_it_says_what_to_do(tiny, monkeypatch):
    recipe.write(trained(), tiny / "out")
    monkeypatch.setattr(folders, "SMOLLM2", tiny / "nowhere")
    with pytest.raises(ValueError, match="SmolLM2 is not set up"):
        load(tiny / "out")


@pytest.mark.parametrize("damage", ["half", "name", "lost"])
def test_a_damaged_graft_is_refused_in_one_line(tiny, damage):
    recipe.write(trained(), tiny / "out")
    path = tiny / "out" / graft.TRAINED
    tensors = load_file(path)
    if damage == "half":
        path.write_bytes(path.read_bytes()[:1000])
    elif damage == "name":
        save_file(tensors | {"x": torch.zeros(1)}, path)
    else:
        save_file({name: tensor for name, tensor in tensors.items() if "linear_1" not in name}, path)
    with pytest.raises(ValueError, match="cannot be loaded: .*analysis.training.graft makes another") as raised:
        load(tiny / "out")
    assert "\n" not in str(raised.value)


def test_a_graft_is_found_from_the_home_folder_and_refuses_unknown_parts(tiny, monkeypatch):
    recipe.write(trained(), tiny / "out")
    monkeypatch.setenv("HOME", str(tiny))
    assert load("~/out").n_layers == 2
    with pytest.raises(ValueError, match="names parts of the configuration.*got 'vison_config'"):
        load("~/out", attn_implementation={"vison_config": "eager"})


def test_without_what_was_trained_it_says_how_to_make_it(tiny, monkeypatch):
    monkeypatch.setattr(folders, "MOSAIC_SMOLLM2", tiny / "out")
    with pytest.raises(ValueError, match="holds no trained.safetensors; python -m analysis.training.graft"):
        load("mosaic_smollm2")


def test_the_command_trains_all_stages_and_goes_on_where_it_was(tiny, monkeypatch):
    monkeypatch.setattr(recipe, "HELD_OUT", 2)
    monkeypatch.setattr(recipe, "EVERY", 1)

    def run(work, stop_at=None):
        losses = []

        def loss(model, scenes, step, kinds):
            if (step, kinds) == (stop_at, recipe.KINDS):
                raise KeyboardInterrupt
            losses.append((step, kinds))
            return answer_loss(model, scenes, step, kinds)

        monkeypatch.setattr(recipe, "answer_loss", loss)
        command = ["graft", "--output", str(tiny / "out"), "--work", str(tiny / work), "--device", "cpu"]
        steps = ["--word-steps", "1", "--lookup-steps", "1", "--steps", "3", "--batch", "2"]
        monkeypatch.setattr(sys, "argv", [*command, *steps])
        recipe.main()
        asked = [step for step, kinds in losses if step < 3 and kinds == recipe.KINDS]
        return asked, load_file(tiny / "out" / graft.TRAINED)

    steps, whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("stopped", stop_at=2)
    (tiny / "out" / graft.TRAINED).unlink()
    steps_left, continued = run("stopped")
    assert (steps, steps_left) == ([0, 1, 2], [2])
    assert all(torch.equal(whole[name], continued[name]) for name in whole)
    logs = {f"{stage}.jsonl" for stage in ("words", "lookups", "answers")}
    assert {path.name for path in (tiny / "out").iterdir()} == {graft.TRAINED, *logs}
    assert load(tiny / "out").n_layers == 2


@pytest.mark.parametrize(("option", "value"), [("--steps", "-1"), ("--batch", "0"), ("--word-steps", "-1")])
def test_the_command_refuses_numbers_that_are_none(tiny, monkeypatch, capsys, option, value):
    monkeypatch.setattr(sys, "argv", ["graft", "--output", str(tiny / "out"), option, value])
    with pytest.raises(SystemExit):
        recipe.main()
    assert f"{option} must be" in capsys.readouterr().err


def test_the_places_learnt_are_those_of_the_digits_a_question_makes_one_look_at(tiny):
    model, questions = trained(), sample(4)
    scenes = [scene for scene, _ in questions]
    asked = chat_slots(scenes, 0, model.words, ("where", "next-to-colour", "how-many"))
    assert asked.places.shape == (4, 3, 2, 2) and asked.places[:, 2].isnan().all()
    for row, scene in enumerate(scenes):
        centres = torch.tensor([d.centre for d in scene.digits]) * 2 / (scene.grid * 8) - 1
        looks = asked.places[row, :2].flatten(0, 1).float()
        assert (torch.cdist(looks, centres.float()).amin(1) < 1e-6).all()
        assert torch.equal(looks[0], looks[1]) and not torch.equal(looks[2], looks[3])


def test_the_norms_of_word_embeddings_are_held_where_asked(tiny):
    scenes, losses = [scene for scene, _ in sample(2)], {}
    for held in (False, True):
        torch.manual_seed(1)
        model = Graft(recipe.EVERYWHERE, "cpu", word_norms=held)
        losses[held] = answer_loss(model, scenes, 0, ("what",))[0]
    norms = model.features(scenes).norm(dim=-1) / model.decoder.embed_tokens.weight.norm(dim=-1).mean()
    torch.testing.assert_close(losses[True] - losses[False], (norms - 1).square().mean())
