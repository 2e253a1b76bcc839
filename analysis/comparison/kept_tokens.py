"""The tokens that methods keep: at the end, at a layer, on the objects of a scene; and their overlap."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
import torch

from analysis.comparison.arguments import checked_methods
from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from analysis.progress import progress_bar
from analysis.scenes.asked import asked, prompts
from analysis.scenes.ground_truth import labels_for
from analysis.scenes.question_seeds import with_question_seeds
from analysis.scenes.questions import Questions
from analysis.statistics.frames import checked
from analysis.statistics.intervals import mean_interval
from v2drop import Method
from v2drop.arguments import whole_number


@torch.no_grad()
def kept_at_end(
    loaded: Loaded, questions: Questions, methods: Mapping[str, Method], batch_size: int = 25
) -> pd.DataFrame:
    """The tokens that are left after each method's last drop.

    A merged token counts as the token at whose position its method puts it. Tokens outside the picture are left out.

    Args:
        loaded: Model and processor.
        questions: Scenes with a question each.
        methods: Methods by the name they get in the frame; one with a seed draws for each question as in
            `analysis.accuracy`.
        batch_size: The number of questions in a batch.

    Returns:
        One row per kept token: method, question (its index), token (its index among those of the picture).

    Raises:
        ValueError: There is no question or no method, something else is given for one, or `batch_size` is below 1.
    """
    check_loaded(loaded)
    questions, methods = asked(questions), checked_methods(methods)
    rows, batch_size = [], whole_number("batch_size", batch_size, 1)
    for start in progress_bar(range(0, len(questions), batch_size), desc="kept tokens", unit="batch"):
        batch = questions[start : start + batch_size]
        inputs = prompts(loaded, batch)
        index_of = [{p: i for i, p in enumerate(row)} for row in loaded.vision_positions(inputs)]
        for name, method in methods.items():
            with loaded.dropping(with_question_seeds(method, batch), inputs) as trace:
                loaded.model(**inputs)
            kept = trace.kept[max(trace.kept)].tolist()
            rows += [
                (name, start + i, index_of[i][position])
                for i, row in enumerate(kept)
                for position in row
                if position >= 0
            ]
    return pd.DataFrame(rows, columns=["method", "question", "token"])


def kept_overlap(frame: pd.DataFrame, n_tokens: int) -> pd.DataFrame:
    """The overlap of the tokens that two methods keep, corrected for chance.

    Let the two sets have a <= b of n tokens, and o be the share of the smaller set that is in the larger one; by chance
    o is b/n. The overlap is (o - b/n) / (1 - b/n): 1 if one set contains the other, 0 for random sets, negative if the
    sets avoid each other.

    Args:
        frame: The frame of `kept_at_end`.
        n_tokens: The number n of tokens of every picture.

    Returns:
        One row per pair of methods, in both orders and each with itself: first, second, mean over questions, low, high
        (95 %; NaN for a single question, and where all are equal), n (questions). Questions in which a set holds no
        token or all are left out; without any other, mean, low and high are NaN.

    Raises:
        ValueError: A token is not one of the picture's, or is there twice for a method and question; a column is
            missing or holds something else.
    """
    n_tokens = whole_number("n_tokens", n_tokens, 1)
    keys = ["method", "question", "token"]
    frame = checked(frame, "frame", {"method": "label", "question": "label", "token": "counted"}, keys)
    if frame.token.max() >= n_tokens:
        raise ValueError(f"token of the frame must be below n_tokens, {n_tokens}; got {frame.token.max()}.")
    names, questions = list(frame.method.unique()), sorted(frame.question.unique())
    sets = np.zeros((len(names), len(questions), n_tokens), dtype=bool)
    method, question = (
        pd.Categorical(frame[c], values).codes for c, values in (("method", names), ("question", questions))
    )
    sets[method, question, frame.token] = True
    sizes, rows = sets.sum(-1), []
    for a, b in combinations_with_replacement(range(len(names)), 2):
        small, large = np.minimum(sizes[a], sizes[b]), np.maximum(sizes[a], sizes[b])
        informative = (small > 0) & (large < n_tokens)
        chance = large[informative] / n_tokens
        value = ((sets[a] & sets[b]).sum(-1)[informative] / small[informative] - chance) / (1 - chance)
        statistics = mean_interval(value)
        rows.append((names[a], names[b], *statistics))
        if a != b:
            rows.append((names[b], names[a], *statistics))
    return pd.DataFrame(rows, columns=["first", "second", "mean", "low", "high", "n"])


@torch.no_grad()
def kept_at_layer(loaded: Loaded, questions: Questions, methods: Mapping[str, Method], layer: int) -> pd.DataFrame:
    """All tokens, with whether each method keeps them in its drop at one layer.

    Args:
        loaded: Model and processor.
        questions: Scenes with a question each.
        methods: Methods by the name they get in the frame; `layer` is in all their schedules. One with a seed draws for
            each question as in `analysis.accuracy`.
        layer: The drop layer.

    Returns:
        One row per (sample, criterion, token): sample (the question's index), criterion (the method's name), token
        (its position in the prompt), vision_index (its index among those of the picture), kept (bool).

    Raises:
        ValueError: There is no question or no method, something else is given for one, or one has no drop at `layer`.
    """
    check_loaded(loaded)
    questions, methods, layer = asked(questions), checked_methods(methods), whole_number("layer", layer, 0)
    frames = []
    for sample, (scene, question) in enumerate(questions):
        inputs = prompts(loaded, [(scene, question)])
        positions = loaded.vision_positions(inputs)[0]
        tokens = {"token": positions, "vision_index": range(len(positions))}
        for name, method in methods.items():
            with loaded.dropping(with_question_seeds(method, [(scene, question)]), inputs) as trace:
                loaded.model(**inputs, logits_to_keep=1)
            if layer not in trace.kept:
                raise ValueError(f"layer must be one at which {name} drops, {sorted(trace.kept)}; got {layer}.")
            kept = np.isin(positions, trace.kept[layer][0].cpu().numpy())
            frames.append(pd.DataFrame({"sample": sample, "criterion": name, **tokens, "kept": kept}))
    return pd.concat(frames, ignore_index=True)


def kept_on_objects(loaded: Loaded, questions: Questions, methods: Mapping[str, Method], layer: int) -> pd.DataFrame:
    """The shares of the tokens on digits, and of those beside them, that each method keeps in its drop at one layer.

    Args:
        loaded: Model and processor.
        questions: Scenes with a question each.
        methods: Methods by the name they get in the frame; `layer` is in all their schedules. One with a seed draws for
            each question as in `analysis.accuracy`.
        layer: The drop layer.

    Returns:
        One row per (question, method): method, question, on_digits and beside, the shares kept.

    A share is NaN where a picture has no token on digits, or none beside them.

    Raises:
        ValueError: The family's layout does not fit the number of tokens, or as for `kept_at_layer`.
    """
    questions = asked(questions, "text", "objects", "relevant")
    kept = kept_at_layer(loaded, questions, methods, layer)
    labelled = kept.merge(labels_for(loaded, questions), on=["sample", "vision_index"])
    labelled["side"] = np.where(labelled.label == "background", "beside", "on_digits")
    share = labelled.pivot_table(index=["sample", "criterion"], columns="side", values="kept", sort=False).reset_index()
    names = {"criterion": "method", "sample": "question"}
    columns = ["method", "question", "on_digits", "beside"]
    return share.rename(columns=names).rename_axis(columns=None).reindex(columns=columns)
