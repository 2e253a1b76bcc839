"""The recipe: what it trains on is what it says, and a stopped run goes on as if it had not been stopped."""

import sys

import pytest
import torch
from safetensors.torch import load_file

from analysis.scenes import mosaic, train
from analysis.scenes.model import build, processor
from analysis.scenes.training_loop import Fit


def small_fit(folder, steps):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))

    def loss_at(step):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        return (module(x) - x.sum(1, keepdim=True)).square().mean(), {"step": step}

    return module, Fit(module, steps, 1e-2, folder, "small"), loss_at


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path):
    whole, fit, loss_at = small_fit(tmp_path / "whole", 6)
    fit.run(loss_at, dict, every=2)

    cut, fit, loss_at = small_fit(tmp_path / "cut", 6)

    def stop_at_five(step):
        if step == 5:
            raise KeyboardInterrupt
        return loss_at(step)

    with pytest.raises(KeyboardInterrupt):
        fit.run(stop_at_five, dict, every=2)
    cut, fit, loss_at = small_fit(tmp_path / "cut", 6)
    fit.run(loss_at, dict, every=2)
    for a, b in zip(whole.parameters(), cut.parameters(), strict=True):
        assert torch.equal(a, b)
    assert (tmp_path / "cut" / "small.jsonl").read_text() == (tmp_path / "whole" / "small.jsonl").read_text()


def test_training_lowers_the_loss(tmp_path):
    module, fit, loss_at = small_fit(tmp_path, 60)
    before = loss_at(999)[0].item()
    fit.run(loss_at, dict, every=60)
    assert loss_at(999)[0].item() < before / 2


def test_packed_questions_are_what_the_model_sees_alone():
    """The block mask and the positions: logits of a packed question equal those of its own prompt."""
    torch.manual_seed(0)
    model, words = build().eval().requires_grad_(False), processor()
    scenes = train.scenes_at(0, 1)
    ids = words.tokenizer.convert_tokens_to_ids
    tokens, labels = train.pack_questions(scenes, 0, ids)
    seen = {}
    model.lm_head.register_forward_pre_hook(lambda module, args: seen.update(states=args[0]))
    train.decoder_loss(model, scenes, 0, ids, "cpu")
    packed_logits = model.lm_head(seen["states"])[::2]  # answer positions; the end-of-answer ones lie between
    for slot in (0, 7, len(train.KINDS_PER_SCENE) - 1):
        row = tokens[0, slot * train.SLOT : (slot + 1) * train.SLOT]
        n_words = int((labels[0, slot * train.SLOT :][: train.SLOT] != -100).nonzero()[0]) + 1
        text = "<image> " + " ".join(words.tokenizer.convert_ids_to_tokens(row[:n_words]))
        alone = model(**words(images=scenes[0].image, text=text, return_tensors="pt")).logits[0, -1]
        torch.testing.assert_close(packed_logits[slot], alone, atol=1e-4, rtol=1e-4)


def test_pixels_are_what_the_processor_makes_of_a_scene():
    scenes = train.scenes_at(0, 2)
    made = processor().image_processor([s.image for s in scenes], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(train.pixels(scenes), made, atol=1e-6, rtol=0)


def test_labels_name_digit_and_colour_of_every_patch():
    scenes = train.scenes_at(0, 3)
    digit, colour, present = train.patch_labels(scenes)
    for i, s in enumerate(scenes):
        for thing in s.digits:
            assert (digit[i, list(thing.patches)] == thing.digit).all()
            assert (colour[i, list(thing.patches)] == list(mosaic.COLOURS).index(thing.colour)).all()
        assert (digit[i] < 10).sum() == 4 * len(s.digits) and present[i].sum() == 2 * len(s.digits)


def test_the_command_trains_from_scratch_and_resumes(tmp_path, monkeypatch):
    arguments = ["train", "--output", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    arguments += ["--tower-steps", "2", "--decoder-steps", "2", "--tower-batch", "2", "--decoder-batch", "2"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--device", "cpu"])
    monkeypatch.setattr(train, "HELD_OUT", 4)
    train.main()
    first = load_file(tmp_path / "out" / "model.safetensors")
    train.main()  # nothing is left to do: the same model again
    again = load_file(tmp_path / "out" / "model.safetensors")
    assert all(torch.equal(first[name], again[name]) for name in first)
