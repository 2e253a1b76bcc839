"""The promises of the contract, each a function that raises AssertionError where a method breaks it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from v2drop.budgets.schedule import Schedule
from v2drop.contract.oracle import oracle_run, run_with_cache
from v2drop.contract.toys import FAMILIES, LAYERS, Batch, batch, toy
from v2drop.engine.contract import Candidates
from v2drop.engine.trace import Trace
from v2drop.methods.base import Method

LLAVA_ROWS = ["titttt", "tit", "tttt", "ittittt", "i", "tti"]
TEXT_ROWS = ["tvvvvvvttt", "vvvvvvvvtt", "tvtvtvvvvvvvvvt", "ttttt", "vvvv", "ttvvvvvvvvvvvvvvvvvvvt"]
STEPS = 8
NEAR = {"atol": 1e-5, "rtol": 1e-5}


def fitted(kind: type[Method], left: dict[int, int | float], **options: Any) -> Method:
    """The method with this schedule; one that acts before the language model takes the first count, at layer 0."""
    return kind(Schedule({0: next(iter(left.values()))} if kind.before_llm else left), **options)


def why_not(kind: type[Method], family: str, merges_tokens: bool = True) -> str:
    """What a method declares that keeps it from a family, or from a comparison with masks; "" if nothing does."""
    if kind.needs_tower and family != "llava":
        return "needs a vision tower"
    if kind.needs_frames and family != "llava":
        return "compares pictures, which are not known here: see its own tests"
    if kind.merges_tokens and not merges_tokens:
        return "makes new tokens, which no mask does: see its own reference"
    return ""


def rows_of(family: str, n: int) -> list[str]:
    """The first n rows of a family's patterns."""
    return (LLAVA_ROWS if family == "llava" else TEXT_ROWS)[:n]


def dropping_is_masking(method: Method, model: nn.Module, data: Batch, tokens: Tensor) -> None:
    """Logits of prompt and `tokens` are those of the plain model in which nobody may attend to the dropped."""
    with method(model, **data.options) as trace:
        got = run_with_cache(model, data, tokens)
    logits = oracle_run(model, data, trace.kept, tokens, LAYERS, method.positions)
    last = torch.stack([logits[row, column] for row, column in enumerate(data.last)])
    expected = torch.cat([last[:, None], logits[:, data.present.shape[1] :]], 1)
    torch.testing.assert_close(got, expected, **NEAR)


def survivors_keep_their_logits_and_the_dropped_have_none(kind: type[Method], family: str, operator: str) -> None:
    """Outputs stand at the survivors' places, NaN at all others."""
    data = batch(family, rows_of(family, 2), "right")
    model, method = toy(family, operator), fitted(kind, {1: 5, 3: 2})
    with method(model, **data.options) as trace:
        got = model(**data.inputs, position_ids=data.positions).logits
    none = torch.zeros(len(data.vision), 0, dtype=torch.long)
    expected = oracle_run(model, data, trace.kept, none, LAYERS, method.positions)
    for row in range(len(got)):
        there = (data.present[row] & ~data.vision[row]).nonzero().flatten().tolist()
        there += trace.kept[max(trace.kept)][row].tolist()
        torch.testing.assert_close(got[row, there], expected[row, there], **NEAR)
        gone = set(data.vision[row].nonzero().flatten().tolist()) - set(there)
        assert gone or not kind.exact_count, "tokens must go"
        assert got[row, sorted(gone)].isnan().all(), "the dropped must have no logits"


def keeping_everything_is_the_plain_model(kind: type[Method], family: str, operator: str, side: str) -> None:
    """Bit for bit, with padding on either side."""
    data = batch(family, ["titttt", "ttt"] if family == "llava" else TEXT_ROWS[:3], side)
    model, method = toy(family, operator), fitted(kind, {1: 1.0, 3: 1000})
    plain = model(**data.inputs)
    with method(model, **data.options) as trace:
        kept = model(**data.inputs)
    assert torch.equal(plain.logits, kept.logits), "keeping everything must change nothing"
    assert trace.kept[max(trace.kept)].shape[1] == max(data.vision.sum(1)), "everything must be kept"


def a_batch_equals_its_rows_alone(kind: type[Method], family: str) -> None:
    """Logits and kept tokens of a padded batch are those of its rows."""
    rows, model, method = rows_of(family, 4), toy(family), fitted(kind, {1: 0.5, 3: 0.2})
    data = batch(family, rows)
    with method(model, **data.options) as trace:
        together = model(**data.inputs, position_ids=data.positions).logits[:, -1]
    kept = {layer: left.tolist() for layer, left in trace.kept.items()}
    image = 0
    for row, pattern in enumerate(rows):
        there = data.present[row]
        inputs = {key: data.inputs[key][row : row + 1, there] for key in ("input_ids", "attention_mask")}
        if n_images := pattern.count("i"):
            inputs["pixel_values"] = data.inputs["pixel_values"][image : image + n_images]
            image += n_images
        with method(model, **{key: mask[row : row + 1, there] for key, mask in data.options.items()}) as alone:
            logits = model(**inputs).logits[:, -1]
        torch.testing.assert_close(logits[0], together[row], **NEAR)
        _same_tokens(alone, {layer: left[row] for layer, left in kept.items()}, len(there) - int(there.sum()))


def _same_tokens(alone: Trace, kept: dict[int, list[int]], shift: int) -> None:
    """A row alone keeps what it keeps in a batch, where padding shifts it."""
    for layer, left in alone.kept.items():
        found = [p - shift if p >= 0 else p for p in kept[layer]]
        assert left[0].tolist() == found[: left.shape[1]], "a row must keep the same tokens in a batch"
        assert set(found[left.shape[1] :]) <= {-1}, "a row must keep as many tokens in a batch"


def candidates_of(hidden: Tensor, previous: Tensor | None = None, n_keep: int = 4) -> Candidates:
    """Candidates at layer 2 without a sequence, of hidden states [batch, vision, dim], to try a score on."""
    n_rows, n = hidden.shape[:2]
    rank, valid = torch.arange(n).expand(n_rows, n), torch.ones(n_rows, n, dtype=torch.bool)
    return Candidates(2, hidden, previous, rank, valid, [n] * n_rows, [n] * n_rows, [n_keep] * n_rows)


def scores_follow_a_permutation_of_the_tokens(kind: type[Method]) -> None:
    """Permuted candidates have the same scores, permuted."""
    torch.manual_seed(0)
    hidden, previous = torch.randn(2, 2, 12, 8).unbind()
    method, order = fitted(kind, {2: 4}), torch.randperm(12)
    seen, moved = candidates_of(hidden, previous), candidates_of(hidden[:, order], previous[:, order])
    torch.testing.assert_close(method.score(moved), method.score(seen)[:, order])


def the_same_prompt_scores_the_same_again(kind: type[Method], family: str) -> None:
    """Scores are finite, and the same in every run."""
    data = batch(family, rows_of(family, 2))
    method, found = fitted(kind, {1: 5, 3: 2}), []
    for _ in range(2):
        with method(toy(family), **data.options) as trace:
            toy(family)(**data.inputs)
        found.append(trace.scores)
    assert all(x[~x.isnan()].isfinite().all() for x in found[0].values()), "scores must be finite"
    for layer, scores in found[0].items():
        again = torch.equal(scores.nan_to_num(0), found[1][layer].nan_to_num(0))  # NaN pads both in the same places
        assert again and torch.equal(scores.isnan(), found[1][layer].isnan()), "scores must be the same again"


def permuting_vision_tokens_permutes_what_is_kept(kind: type[Method]) -> None:
    """In a model whose tokens do not see each other."""
    torch.manual_seed(0)
    model = FAMILIES["llama"]().eval().requires_grad_(False)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()  # no token sees another: what is kept may depend on content only
    data, order = batch("llama", ["ttvvvvvvvvvvvtt"]), torch.randperm(11)
    moved = data.inputs["input_ids"].clone()
    moved[0, 2:13] = moved[0, 2:13][order]
    with fitted(kind, {1: 6, 3: 3})(model, **data.options) as trace:
        model(**data.inputs)
        kept = {layer: left[0] for layer, left in trace.kept.items()}
        model(**data.inputs | {"input_ids": moved})
    for layer, left in kept.items():
        assert sorted(order[trace.kept[layer][0] - 2].tolist()) == (left - 2).tolist(), "position must not count"


def as_many_are_left_as_the_schedule_says(kind: type[Method], family: str) -> None:
    """Or fewer, if the method declares that its counts are not exact."""
    for left in ({1: 0.4, 3: 0.2}, {1: 7, 2: 3}, {2: 1}, {1: 0}):
        method, exact = fitted(kind, left), kind.exact_count
        one_picture = not exact and isinstance(next(iter(left.values())), int)
        rows = ["titttt", "tti" if one_picture else "tittit", "ttt"] if family == "llava" else TEXT_ROWS[:3]
        data = batch(family, rows)
        with method(toy(family), **data.options) as trace:
            toy(family)(**data.inputs)
        for row, n in enumerate((data.vision.sum(1)).tolist()):
            found, said = [counts[row] for counts in trace.vision_tokens], method.schedule.counts(n, LAYERS)
            fits = found == said if exact else all(a <= b for a, b in zip(found, said, strict=True))
            assert fits, f"the schedule says {said} tokens, layer by layer; {found} are left"
