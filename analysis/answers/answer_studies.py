"""What is asked for the notebooks' verdicts on accuracy: questions of a confirmatory seed, methods, budgets, layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from analysis.answers.criterion_studies import criterion_runs, jacobian_runs, planted_runs
from analysis.answers.decoder_studies import DRAWS, depth_runs, start_runs
from analysis.comparison.accuracy import accuracy
from analysis.comparison.answer_keys import OTHER_DRAWS, RANDOM_DRAWS, Key, Runs, layers_text, nothing_dropped
from analysis.comparison.at_one_average import fitting_methods, methods_at_average
from analysis.comparison.budgets import reachable_budgets
from analysis.comparison.layer_choices import drop_layer_choices
from analysis.models.loaded import Loaded
from analysis.scenes.mosaic import PICTURE_SIDES, SIDE
from analysis.scenes.questions import Questions
from v2drop import Coverage, Random, Schedule, Stratified, Uniform, V2Drop

PHASES = (1 / 8, 3 / 8, 5 / 8, 7 / 8)  # of even spacing; each counts as a draw
METRICS = ("l2", "l1", "cosine")
BUDGETS = (2 / 3, 1 / 3, 2 / 9, 1 / 9)  # shares of the vision tokens, true layer averages
LAYER_BUDGET = 1 / 2
METHOD_BUDGETS = (2 / 3, 1 / 2, 1 / 3)


def budget_runs(loaded: Loaded, _: Questions, n_tokens: int) -> Runs:
    """V2Drop by three metrics and the baselines at four budgets, at the released depths."""
    layers, runs = V2Drop.drop_layers(loaded.n_layers), nothing_dropped(n_tokens)
    for budget in reachable_budgets(BUDGETS, layers, n_tokens, loaded.n_layers):
        schedule = Schedule.for_average(budget, layers, n_tokens, loaded.n_layers)
        runs |= _baselines(schedule, budget, layers_text(layers)) | _v2drop(schedule, budget, layers_text(layers))
        runs[Key("stratified", budget, layers_text(layers))] = Stratified(schedule)
        if "coverage" in fitting_methods(loaded):
            runs[Key("coverage", budget, layers_text(layers))] = Coverage(schedule)
    return runs


def layer_runs(loaded: Loaded, _: Questions, n_tokens: int) -> Runs:
    """V2Drop by three metrics and two baselines at one budget, at several choices of drop layers."""
    return _at_layers(loaded, n_tokens, drop_layer_choices(loaded.n_layers, LAYER_BUDGET).values())


def size_runs(loaded: Loaded, _: Questions, n_tokens: int) -> Runs:
    """The same at the released depths and as late as can be."""
    choices = drop_layer_choices(loaded.n_layers, LAYER_BUDGET)
    return _at_layers(loaded, n_tokens, [choices[name] for name in ("released", "late")])


def _at_layers(loaded: Loaded, n_tokens: int, choices: Iterable[tuple[int, ...]]) -> Runs:
    budget, runs = round(LAYER_BUDGET * n_tokens), nothing_dropped(n_tokens)
    for layers in choices:
        schedule = Schedule.for_average(budget, layers, n_tokens, loaded.n_layers)
        runs |= _baselines(schedule, budget, layers_text(layers)) | _v2drop(schedule, budget, layers_text(layers))
    return runs


def method_runs(loaded: Loaded, _: Questions, n_tokens: int) -> Runs:
    """Every method at three budgets, each at its own layers; V2Drop by three metrics, even spacing in four phases."""
    names, runs = fitting_methods(loaded), nothing_dropped(n_tokens)
    for budget in (round(share * n_tokens) for share in METHOD_BUDGETS):
        methods = methods_at_average(budget, n_tokens, loaded.n_layers, names)
        spaced, _, own = (methods.pop(name) for name in ("uniform", "random", "v2drop"))  # what stands for them follows
        runs |= {Key(name, budget, "own"): method for name, method in methods.items()}
        runs |= _baselines(spaced.schedule, budget, "own") | _v2drop(own.schedule, budget, "own")
    return runs


def position_runs(loaded: Loaded, _: Questions, n_tokens: int) -> Runs:
    """Even spacing and random tokens dropped before the language model, position ids kept and repacked."""
    runs = nothing_dropped(n_tokens)
    for budget in (round(share * n_tokens) for share in METHOD_BUDGETS):
        schedule = Schedule({0: budget})
        for (name, draw), kept in _spread(schedule).items():
            runs[Key(f"{name}, ids kept", budget, "0", draw)] = kept
            runs[Key(f"{name}, ids repacked", budget, "0", draw)] = replace(kept, positions="repack")
    return runs


class AnswerStudy(NamedTuple):
    """What a recorded table of answers consists of.

    Attributes:
        notebook: The notebook whose confirmatory seed the questions have.
        n_questions: Their number.
        runs: A function from the model, some of the questions and the number of vision tokens (None for texts, which
            have no common one) to the methods.
        side: The width of the pictures, in pixels.
        subject: The model that is asked, a key of `analysis.subjects.SUBJECTS`.
        drops_start: For a text model, `LoadedText.drops_start`.
        max_new_tokens: The length of the longest reply.
    """

    notebook: str
    n_questions: int
    runs: Callable[[Loaded, Questions, int | None], Runs]
    side: int = SIDE
    subject: str = "embedded"
    drops_start: bool = False
    max_new_tokens: int = 8
    random_draws: int = RANDOM_DRAWS


DEPTHS = {"notebook": "07_real_decoder", "n_questions": 60, "random_draws": DRAWS}
TEXT = DEPTHS | {"subject": "smollm2", "max_new_tokens": 1}  # its answers are one token long

STUDIES: Mapping[str, AnswerStudy] = {
    "budgets": AnswerStudy("01_quickstart", 400, budget_runs),
    "layers": AnswerStudy("01_quickstart", 400, layer_runs),
    "small_pictures": AnswerStudy("01_quickstart", 400, size_runs, min(PICTURE_SIDES)),
    "large_pictures": AnswerStudy("01_quickstart", 400, size_runs, max(PICTURE_SIDES)),
    "methods": AnswerStudy("02_methods", 400, method_runs),
    "positions": AnswerStudy("02_methods", 400, position_runs),
    "jacobians": AnswerStudy("03_variation_impact_theorem", 400, jacobian_runs),
    "criteria": AnswerStudy("04_metrics", 400, criterion_runs),
    "planted": AnswerStudy("05_positional_bias", 400, planted_runs),
    "depths_embedded": AnswerStudy(runs=depth_runs, **DEPTHS),
    "depths_smollm2": AnswerStudy(runs=depth_runs, **TEXT),
    "start_smollm2": AnswerStudy(runs=start_runs, drops_start=True, **TEXT | {"n_questions": 40}),
}


def answers(loaded: Loaded, questions: Questions, runs: Runs, study: AnswerStudy, first: int = 0) -> pd.DataFrame:
    """The frame of `accuracy` for the runs of a study, keys as columns; questions are counted from `first`."""
    parts = _by_draws(runs, study.random_draws)
    longest = study.max_new_tokens
    frames = [accuracy(loaded, questions, part, draws=draws, max_new_tokens=longest) for draws, part in parts]
    frame = pd.concat(frames, ignore_index=True)
    keys = pd.DataFrame([Key(*key) for key in frame.method], columns=Key._fields)
    return frame.assign(**keys.drop(columns="draw"), draw=frame.draw + keys.draw, question=frame.question + first)


def _by_draws(runs: Runs, random_draws: int) -> Iterator[tuple[int, Runs]]:
    """The runs with random dropping, which draws often, and the others."""
    often = {key: method for key, method in runs.items() if isinstance(method, Random)}
    rest = {key: method for key, method in runs.items() if key not in often}
    return ((draws, part) for draws, part in ((OTHER_DRAWS, rest), (random_draws, often)) if part)


def _spread(schedule: Schedule) -> dict[tuple[str, int], Uniform | Random]:
    """Random dropping and all phases of even spacing, by name and draw."""
    return {("random", 0): Random(schedule)} | {
        ("uniform", draw): Uniform(schedule, phase) for draw, phase in enumerate(PHASES)
    }


def _baselines(schedule: Schedule, budget: float | int, layers: str) -> Runs:
    return {Key(name, budget, layers, draw): method for (name, draw), method in _spread(schedule).items()}


def _v2drop(schedule: Schedule, budget: float | int, layers: str) -> Runs:
    return {Key(f"v2drop {metric}", budget, layers): V2Drop(schedule, metric=metric) for metric in METRICS}
