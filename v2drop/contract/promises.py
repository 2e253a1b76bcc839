"""The contract of one method as a list of checks, for the tests of a method anywhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch

from v2drop.budgets.schedule import Schedule
from v2drop.contract import checks
from v2drop.contract.toys import FAMILIES, LAYERS, VOCABULARY, batch, toy
from v2drop.methods.base import Method

OPERATORS, SIDES = ("eager", "sdpa"), ("left", "right")
CASES = 6  # random schedules and batches, for each family and attention operator


@dataclass(frozen=True)
class Promise:
    """One thing that a method promises.

    Attributes:
        name: what it promises, and where.
        check: raises AssertionError where it is broken.
    """

    name: str
    check: Callable[[], None]

    def __str__(self) -> str:
        """The name."""
        return self.name


def contract_of(kind: type[Method]) -> list[Promise]:
    """All that a method promises, but for what it declares that it cannot do.

    Args:
        kind: the class of the method, which needs no argument but its schedule.

    Returns:
        The promises: on tiny models of LLaVA, Llama and Qwen2 with random weights, on a CPU, in about a second each.

    >>> from v2drop import Random
    >>> len(contract_of(Random)), str(contract_of(Random)[0])
    (33, 'dropping is masking, llava, eager')
    """
    return [
        Promise(", ".join([run.func.__name__.strip("_").replace("_", " "), *run.args[1:]]), run) for run in _runs(kind)
    ]


def _runs(kind: type[Method]) -> Iterator[partial]:
    for family in FAMILIES:
        if checks.why_not(kind, family):
            continue
        for operator in OPERATORS:
            if not checks.why_not(kind, family, merges_tokens=False):
                yield partial(_dropping_is_masking, kind, family, operator)
                yield partial(checks.survivors_keep_their_logits_and_the_dropped_have_none, kind, family, operator)
            for side in SIDES:
                yield partial(checks.keeping_everything_is_the_plain_model, kind, family, operator, side)
        yield partial(checks.a_batch_equals_its_rows_alone, kind, family)
        yield partial(checks.the_same_prompt_scores_the_same_again, kind, family)
        if not kind.needs_frames:
            yield partial(checks.as_many_are_left_as_the_schedule_says, kind, family)
    if not kind.uses_position:
        yield partial(checks.scores_follow_a_permutation_of_the_tokens, kind)
        yield partial(checks.permuting_vision_tokens_permutes_what_is_kept, kind)


def _dropping_is_masking(kind: type[Method], family: str, operator: str) -> None:
    """Random schedules on random batches."""
    draw = random.Random(0)
    for seed in range(CASES):
        rows = draw.choices(checks.rows_of(family, 6), k=draw.randint(1, 3))
        data, method = batch(family, rows, draw.choice(SIDES), seed), kind(_schedule(kind, draw))
        tokens = torch.randint(4, VOCABULARY, (len(rows), checks.STEPS))
        checks.dropping_is_masking(method, toy(family, operator), data, tokens)


def _schedule(kind: type[Method], draw: random.Random) -> Schedule:
    layers = range(kind.first_layer, LAYERS)
    drops = [0] if kind.before_llm else sorted(draw.sample(layers, draw.randint(1, min(3, len(layers)))))
    amount = draw.choice([lambda: draw.randint(0, 12), draw.random])
    return Schedule(dict(zip(drops, sorted((amount() for _ in drops), reverse=True), strict=True)))
