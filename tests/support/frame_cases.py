"""Every public function that takes a frame, with a small good frame for it and what its columns hold."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

import analysis
from tests.support.impact_tables import synthetic, with_labels

CRITERIA = ["a", "b", "c"]
METHODS = ["random", "v2drop", "downsample", "nothing dropped"]


class Case(NamedTuple):
    """A function of one frame, and the columns of it that are needed."""

    call: Callable[[pd.DataFrame], object]
    frame: pd.DataFrame
    numbers: tuple[str, ...] = ()  # no NaN, no infinity
    labels: tuple[str, ...] = ()  # no missing value
    counted: tuple[str, ...] = ()  # ints from 0 on
    truths: tuple[str, ...] = ()
    once: bool = True  # no row twice

    @property
    def needed(self):
        """All columns that the function reads."""
        return (*self.numbers, *self.labels, *self.counted, *self.truths)


def table(samples=4, tokens=9):
    rng = np.random.default_rng(0)
    keys = pd.MultiIndex.from_product([range(samples), range(2), range(tokens)], names=["sample", "layer", "token"])
    frame = keys.to_frame(index=False)
    return frame.assign(vision_index=frame.token, **{name: rng.random(len(frame)) for name in CRITERIA})


def labelled_table():
    return table().assign(label=np.resize(["object", "background", "background"], 72))


def labels():
    shown = np.resize(["relevant", "other", "background", "background"], 9)
    return pd.DataFrame(
        [(s, i, shown[i]) for s in range(4) for i in range(9)], columns=["sample", "vision_index", "label"]
    )


def answers():
    rng, rows = np.random.default_rng(1), []
    for m, method in enumerate(METHODS):
        for budget in (36, 72):
            for question in range(6):
                rows.append((method, budget, question, bool(rng.random() < 0.5 + 0.1 * m), -rng.random()))
    return pd.DataFrame(rows, columns=["method", "budget", "question", "right", "log_probability"])


def shifts():
    return pd.DataFrame(
        [(c, p, c + 0.1 * p * p) for c in range(4) for p in range(4)], columns=["content", "position", "score"]
    )


def end_tokens():
    rng = np.random.default_rng(2)
    rows = [(m, q, t) for m in "xy" for q in range(4) for t in rng.choice(9, 3, replace=False)]
    return pd.DataFrame(rows, columns=["method", "question", "token"])


KEYS, KEPT_LABELS = ("layer", "token"), ("sample", "criterion")
KEPT = analysis.kept_tokens_by(table(), 1 / 3, CRITERIA)
LOCATED = analysis.localisation(table(), labels(), CRITERIA)
AGREED = analysis.agreement(table(), CRITERIA)
SUMMARY = analysis.summarise_layers(AGREED, ["statistic", "first", "second"])
PAIRS = analysis.pairwise_differences(answers())
IMPACT = with_labels(synthetic(samples=3, layers=2, tokens=12))
SINK = IMPACT.assign(attention_last=np.where(IMPACT.token == 3, 0.5, IMPACT.attention_last))
IMPACTS = ("first_order_impact", "revert_impact", "predicted_impact", "operator_norm", "token_norm")
REPLIES = pd.DataFrame({"kind": ["how-many", "what"] * 3, "reply": list("457321"), "answer": list("444321")})
VALUES = ["contrast", "statistic", "criterion"]
PREFIX = {"labels": ("sample",), "counted": (*KEYS, "vision_index")}
CURVES = {"numbers": (), "labels": KEPT_LABELS, "counted": ("layer", "vision_index"), "truths": ("kept",)}
ANSWER_KEYS, BUDGET_KEYS = ("method", "question"), ("method", "budget", "question")


def group_effects():
    rng, keys = np.random.default_rng(3), table()[["sample", "layer", "token"]]
    measured = {name: rng.normal(size=len(keys)) for name in ("value", "first_half", "second_half")}
    return keys.assign(effect="shapley", **measured)


CASES = {
    "mean_by_group": Case(
        lambda f: analysis.mean_by_group(f, ["method", "budget"], "right"),
        answers(),
        ("right",),
        ("method", "budget"),
        once=False,
    ),
    "summarise_layers": Case(
        lambda f: analysis.summarise_layers(f, VALUES), LOCATED, ("value", "chance"), ("sample", *VALUES), ("layer",)
    ),
    "criterion_minus_baseline": Case(
        lambda f: analysis.criterion_minus_baseline(f, "c", VALUES[:2]),
        LOCATED,
        ("value",),
        ("sample", *VALUES),
        ("layer",),
    ),
    "agreement": Case(lambda f: analysis.agreement(f, CRITERIA), table(), ("a", "b", "c"), ("sample",), KEYS),
    "agreement_matrix": Case(
        lambda f: analysis.agreement_matrix(f, "spearman"), SUMMARY, (), ("statistic", "first", "second", "layer")
    ),
    "localisation, table": Case(lambda f: analysis.localisation(f, labels(), "a"), table(), ("a",), **PREFIX),
    "localisation, labels": Case(
        lambda f: analysis.localisation(table(), f, "a"), labels(), (), ("sample", "label"), ("vision_index",)
    ),
    "question_dependence": Case(
        lambda f: analysis.question_dependence(f, [0, 0, 1, 1], "a"), table(), ("a",), (), ("sample", *KEYS)
    ),
    "kept_tokens_by": Case(lambda f: analysis.kept_tokens_by(f, 0.4, "a"), table(), ("a",), **PREFIX),
    "with_grid_place": Case(analysis.with_grid_place, KEPT, (), ("sample",), ("vision_index",), once=False),
    "retention": Case(lambda f: analysis.retention(f, ["layer", "criterion"], bins=3), KEPT, **CURVES),
    "end_to_start_ratio": Case(lambda f: analysis.end_to_start_ratio(f, ["layer", "criterion"], 3), KEPT, **CURVES),
    "distance_from_uniform": Case(
        lambda f: analysis.distance_from_uniform(f, ["layer", "criterion"], 3, 9), KEPT, **CURVES
    ),
    "distance_difference": Case(lambda f: analysis.distance_difference(f, "c", ["layer"], 3), KEPT, **CURVES),
    "score_position": Case(lambda f: analysis.score_position(f, ["a", "b"]), table(), ("a", "b"), ("sample",), KEYS),
    "content_position_shares": Case(
        lambda f: analysis.content_position_shares(f, "score"), shifts(), ("score",), (), ("content", "position")
    ),
    "with_planted_bias": Case(lambda f: analysis.with_planted_bias(f, "a", 0.5), table(), ("a",), **PREFIX),
    "bias_accuracy_correlation": Case(
        lambda f: analysis.bias_accuracy_correlation(
            pd.Series([3.0, 1.0, 2.0, 0.0], METHODS), f, pd.Series(range(4), METHODS)
        ),
        answers().query("budget == 36"),
        ("right",),
        ANSWER_KEYS,
    ),
    "summarise_accuracy": Case(
        lambda f: analysis.summarise_accuracy(f, ["method", "budget"]), answers(), ("right",), BUDGET_KEYS
    ),
    "paired_difference": Case(
        lambda f: analysis.paired_difference(f, "random", ["budget"]), answers(), ("right",), BUDGET_KEYS
    ),
    "equivalence": Case(
        lambda f: analysis.equivalence(f, "random", ["budget"], 0.1), answers(), ("right",), BUDGET_KEYS
    ),
    "pairwise_differences": Case(
        lambda f: analysis.pairwise_differences(f, "log_probability"), answers(), ("log_probability",), BUDGET_KEYS
    ),
    "best_and_worst": Case(
        analysis.best_and_worst,
        analysis.paired_difference(
            pd.concat([answers(), answers().assign(right=True)], keys=["1, 2", "3, 4"], names=["layers"]).reset_index(
                "layers"
            ),
            "random",
            ["layers", "budget"],
        ),
        ("mean",),
        ("method", "budget", "layers"),
    ),
    "win_counts": Case(analysis.win_counts, PAIRS, ("difference", "q"), ("budget", "first", "second")),
    "significant_pairs": Case(
        analysis.significant_pairs, PAIRS.query("budget == 36"), ("difference", "q"), ("first", "second")
    ),
    "accuracy_variance": Case(
        lambda f: analysis.accuracy_variance(f, ["method", "budget"], 2, 3), answers(), ("right",), BUDGET_KEYS
    ),
    "with_difficulty": Case(
        analysis.with_difficulty,
        answers().assign(budget=72).drop_duplicates(["method", "question"]),
        (),
        BUDGET_KEYS,
        (),
        ("right",),
    ),
    "accuracy_by_difficulty": Case(
        analysis.accuracy_by_difficulty,
        answers()
        .assign(budget=72)
        .iloc[::2]
        .reset_index(drop=True)
        .assign(question=lambda f: f.groupby("method").cumcount()),
        (),
        BUDGET_KEYS,
        (),
        ("right",),
    ),
    "group_summary, effects": Case(
        lambda f: analysis.group_summary(f, table(), "a"), group_effects(), (), ("sample",), KEYS
    ),
    "group_summary, table": Case(
        lambda f: analysis.group_summary(group_effects(), f, ["a", "b"]), labelled_table(), (), ("sample",), KEYS
    ),
    "kept_overlap": Case(lambda f: analysis.kept_overlap(f, 9), end_tokens(), (), ANSWER_KEYS, ("token",)),
    "miscount": Case(analysis.miscount, REPLIES, (), ("kind",), once=False),
    "per_sample": Case(
        lambda f: analysis.per_sample(f, permutations=1), IMPACT, ("revert_impact", "operator_norm"), ("sample",), KEYS
    ),
    "summarise_impact": Case(
        lambda f: analysis.summarise_impact(f, permutations=1), IMPACT, ("drop_impact", "random"), ("sample",), KEYS
    ),
    "proportionality": Case(
        lambda f: analysis.proportionality(f, 50), IMPACT, ("revert_impact", "drop_impact"), ("sample",), KEYS
    ),
    "sink_tokens": Case(analysis.sink_tokens, SINK, ("token_norm",), ("sample",), KEYS),
    "with_and_without_sinks": Case(
        lambda f: analysis.with_and_without_sinks(f, analysis.sink_tokens), SINK, ("token_norm",), ("sample",), KEYS
    ),
    "sink_ranks": Case(lambda f: analysis.sink_ranks(f, ["variation_l2"]), SINK, ("token_norm",), ("sample",), KEYS),
    "information_horizon": Case(
        analysis.information_horizon,
        table().rename(columns={"a": "alone_impact"}),
        ("alone_impact",),
        ("sample",),
        KEYS,
    ),
    "theorem_by_group": Case(analysis.theorem_by_group, IMPACT, IMPACTS, ("sample",), KEYS),
}
