"""The recipe: what it trains on is what it says, and the command goes on where it was stopped."""

import sys

import pytest
import torch
import transformers
from safetensors.torch import load_file

from analysis.scenes.drawing import COLOURS
from analysis.scenes.mosaic import scene
from analysis.scenes.question_kinds import QUESTION_KINDS
from analysis.training import model, train
from analysis.training.decoder import Answerer, decoder_loss
from analysis.training.model import build, processor
from analysis.training.packing import ALL, ONE_LOOK, pack_questions
from analysis.training.tower import patch_labels, pixels, scenes_at

FLAGS = ("--tower-steps", "--decoder-steps", "--whole-steps", "--tower-batch", "--decoder-batch")


def test_packed_questions_are_what_the_model_sees_alone():
    """The block mask and the positions: logits of a packed question equal those of its own prompt."""
    torch.manual_seed(0)
    answerer, words = Answerer(build().eval().requires_grad_(False)), processor()
    scenes, ids = [scene("train", 0, 3)], words.tokenizer.convert_tokens_to_ids
    tokens, labels, _ = pack_questions(scenes, 0, ids, ALL)
    seen = {}
    answerer.model.lm_head.register_forward_pre_hook(lambda module, args: seen.update(states=args[0]))
    decoder_loss(answerer, scenes, 0, ids, "cpu", ALL)
    packed_logits = answerer.model.lm_head(seen["states"])[::2]  # answers; the end-of-answer ones lie between
    for slot in (0, 7, len(ALL.slots) - 1):
        start = sum(ALL.slots[:slot])
        n_words = int((labels[0, start : start + ALL.slots[slot]] != -100).nonzero()[0]) + 1
        text = "<image> " + " ".join(words.tokenizer.convert_ids_to_tokens(tokens[0, start : start + n_words]))
        alone = answerer.model(**words(images=scenes[0].image, text=text, return_tensors="pt")).logits[0, -1]
        torch.testing.assert_close(packed_logits[slot], alone, atol=1e-4, rtol=1e-4)


def test_every_kind_is_packed_and_no_word_is_unknown():
    words = processor().tokenizer
    assert set(ALL.kinds) == set(QUESTION_KINDS)
    for asked in (ONE_LOOK, ALL):
        tokens, labels, places = pack_questions(scenes_at(1, 8), 1, words.convert_tokens_to_ids, asked)
        assert words.unk_token_id not in tokens and words.unk_token_id not in labels
        assert ((labels != -100).sum(1) == 2 * len(asked.kinds)).all()
        first, last = places.unbind(2)
        at_two = torch.tensor([kind.startswith("next-to") for kind in asked.kinds])
        assert ((first != last).any(-1) & ~first.isnan().any(-1)).any(0)[
            at_two
        ].all() and places.nan_to_num().abs().max() < 1
        assert (first[:, ~at_two].nan_to_num() == last[:, ~at_two].nan_to_num()).all()


@pytest.mark.parametrize("asked", [ONE_LOOK, ALL])
def test_gradients_reach_all_that_is_trained_and_are_finite(asked):
    torch.manual_seed(0)
    answerer, ids = Answerer(build()), processor().tokenizer.convert_tokens_to_ids
    loss, shares = decoder_loss(answerer, scenes_at(0, 2), 0, ids, "cpu", asked)
    loss.backward()
    trained = {name: p.grad for name, p in answerer.named_parameters() if p.requires_grad}
    assert not any(name.startswith("model.model.vision_tower") for name in trained)
    assert all(grad is not None and grad.isfinite().all() for grad in trained.values())
    assert set(asked.kinds) <= set(shares) and all(0 <= share for share in shares.values())


def test_pictures_of_all_sizes_take_turns():
    assert [scenes_at(step, 1)[0].grid * 8 for step in range(4)] == [72, 96, 120, 72]


def test_pixels_are_what_the_processor_makes_of_a_scene():
    scenes = [scene("train", 0, i) for i in range(2)]
    made = processor().image_processor([s.image for s in scenes], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(pixels(scenes), made, atol=1e-6, rtol=0)


def test_labels_name_digit_and_colour_of_every_patch():
    scenes = scenes_at(0, 3)
    digit, colour, present = patch_labels(scenes)
    for i, each in enumerate(scenes):
        shown = [[d for d in each.digits if patch in d.patches] for patch in range(each.grid**2)]
        for patch, digits in enumerate(shown):
            assert (digit[i, patch] == 10 and colour[i, patch] == 8) if not digits else digit[i, patch] < 10
            assert not digits or (int(digit[i, patch]), int(colour[i, patch])) in [
                (d.digit, list(COLOURS).index(d.colour)) for d in digits
            ]
        kinds = {d.digit for d in each.digits}, {d.colour for d in each.digits}
        assert present[i].sum() == sum(map(len, kinds))


def test_the_command_trains_from_scratch_and_resumes(tmp_path, monkeypatch):
    arguments = ["train", "--output", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    arguments += [word for flag in FLAGS for word in (flag, "2")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--device", "cpu"])
    monkeypatch.setattr(train, "HELD_OUT", 4)
    train.main()
    first = load_file(tmp_path / "out" / "model.safetensors")
    train.main()  # nothing is left to do: the same model again
    again = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.parametrize("changed", FLAGS)
def test_checkpoints_of_other_settings_are_refused_by_name(changed, tmp_path, monkeypatch, capsys):
    numbers = dict.fromkeys(FLAGS, 1)
    folders = ["train", "--output", str(tmp_path / "out"), "--work", str(tmp_path / "work"), "--device", "cpu"]

    def run():
        words = [word for item in numbers.items() for word in map(str, item)]
        monkeypatch.setattr(sys, "argv", [*folders, *words])
        train.main()

    monkeypatch.setattr(train, "HELD_OUT", 2)
    run()
    before = (tmp_path / "out" / "model.safetensors").read_bytes()
    numbers[changed] = 2
    with pytest.raises(SystemExit):
        run()
    name = changed.rpartition("-")[2]
    assert f"{name} 1 (now 2)" in capsys.readouterr().err
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("make", [model.tokenizer, model.processor, model.config, model.build])
def test_torchvision_is_mended_before_any_class_of_transformers_is_looked_up(make, monkeypatch):
    """A class is imported when it is looked up, in `transformers.Class(config())` before `config` is called."""
    mended = []

    class Lazy:
        def __getattr__(self, name):
            assert mended, f"transformers.{name} before usable()"
            return getattr(transformers, name)

    monkeypatch.setattr(model, "usable", lambda: mended.append(True))
    monkeypatch.setattr(model, "transformers", Lazy())
    make()
