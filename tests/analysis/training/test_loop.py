"""The training loop: a stopped run goes on as if it had not been stopped."""

import pytest
import torch

from analysis.training.loop import Fit


def small_fit(folder, steps):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))

    def loss_at(step):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        return (module(x) - x.sum(1, keepdim=True)).square().mean(), {"step": step}

    return module, Fit(module, steps, 1e-2, folder, "small", {"seed": 0}), loss_at


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


def test_a_run_that_was_killed_between_log_line_and_checkpoint_logs_no_step_twice(tmp_path, monkeypatch):
    whole, fit, loss_at = small_fit(tmp_path / "whole", 6)
    last = fit.run(loss_at, lambda: {"right": 0.5}, every=2)
    _, fit, loss_at = small_fit(tmp_path / "cut", 6)
    save = Fit._save

    def killed(fit, step):
        if step == 4:
            fit.log.write_text(fit.log.read_text() + '{"step": 4, "lo')  # the next line was only half written
            raise KeyboardInterrupt
        save(fit, step)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Fit, "_save", killed)
        fit.run(loss_at, lambda: {"right": 0.5}, every=2)
    cut, fit, loss_at = small_fit(tmp_path / "cut", 6)
    assert fit.run(loss_at, lambda: {"right": 0.5}, every=2) == last == {"right": 0.5}
    assert (tmp_path / "cut" / "small.jsonl").read_text() == (tmp_path / "whole" / "small.jsonl").read_text()
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), cut.parameters(), strict=True))
    assert small_fit(tmp_path / "cut", 6)[1].run(loss_at, dict) == last  # nothing was left to do


def test_a_log_without_its_checkpoint_is_begun_anew(tmp_path):
    _, fit, loss_at = small_fit(tmp_path, 2)
    fit.run(loss_at, dict, every=1)
    first = (tmp_path / "small.jsonl").read_text()
    (tmp_path / "small.safetensors").unlink()
    _, fit, loss_at = small_fit(tmp_path, 2)
    fit.run(loss_at, dict, every=1)
    assert (tmp_path / "small.jsonl").read_text() == first
