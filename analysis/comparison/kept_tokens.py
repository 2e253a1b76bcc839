"""Which tokens methods leave, and whether they are the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from analysis.models.loading import Loaded
from analysis.scenes.ground_truth import token_labels
from analysis.scenes.mosaic import Questions
from analysis.statistics.intervals import mean_interval
from v2drop import Method


@torch.no_grad()
def kept_at_end(loaded: Loaded, asked: Questions, methods: Mapping[str, Method], batch_size: int = 25) -> pd.DataFrame:
    """Whose tokens the last drop leaves.

    A token made of several goes by the one that its method names; one that is none of the picture's is left out.

    Args:
        loaded: model and processor.
        asked: scenes with a question each.
        methods: by name.
        batch_size: questions at a time.

    Returns:
        method, question (its index), token (its rank among the picture's).
    """
    rows = []
    for start in tqdm(range(0, len(asked), batch_size), desc="kept tokens", unit="batch"):
        batch = asked[start : start + batch_size]
        inputs = loaded.inputs([scene.image for scene, _ in batch], [question.text for _, question in batch])
        places = [{p: i for i, p in enumerate(row)} for row in loaded.vision_positions(inputs)]
        for name, method in methods.items():
            with method(loaded.model) as trace:
                loaded.model(**inputs)
            kept = trace.kept[max(trace.kept)].tolist()
            rows += [
                (name, start + i, places[i][position])
                for i, row in enumerate(kept)
                for position in row
                if position >= 0
            ]
    return pd.DataFrame(rows, columns=["method", "question", "token"])


def kept_overlap(frame: pd.DataFrame, n_tokens: int) -> pd.DataFrame:
    """How far two methods leave the same tokens, beyond chance.

    Of sets of a and b tokens, a <= b, of n, the share of the smaller one that is in the larger is o, and b/n by chance;
    the number is (o - b/n) / (1 - b/n): 1 if one holds the other, 0 as for random sets, negative if they avoid each
    other.

    Args:
        frame: of `kept_at_end`.
        n_tokens: n, of every picture.

    Returns:
        first, second, mean over questions, low, high (95 % bootstrap), n (questions); pairs both ways round and each
        method with itself. Questions where a set is empty or whole are left out.
    """
    names, questions = list(frame.method.unique()), sorted(frame.question.unique())
    sets = np.zeros((len(names), len(questions), n_tokens), dtype=bool)
    method, question = (
        pd.Categorical(frame[c], values).codes for c, values in (("method", names), ("question", questions))
    )
    sets[method, question, frame.token] = True
    sizes, rows = sets.sum(-1), []
    for a, b in combinations_with_replacement(range(len(names)), 2):
        small, large = np.minimum(sizes[a], sizes[b]), np.maximum(sizes[a], sizes[b])
        told = (small > 0) & (large < n_tokens)
        chance = large[told] / n_tokens
        value = ((sets[a] & sets[b]).sum(-1)[told] / small[told] - chance) / (1 - chance)
        found = mean_interval(value) if len(value) else (np.nan, np.nan, np.nan, 0)
        rows.append((names[a], names[b], *found))
        if a != b:
            rows.append((names[b], names[a], *found))
    return pd.DataFrame(rows, columns=["first", "second", "mean", "low", "high", "n"])


@torch.no_grad()
def kept_at_layer(loaded: Loaded, asked: Questions, methods: Mapping[str, Method], layer: int) -> pd.DataFrame:
    """Who is left after the drop of one layer.

    Args:
        loaded: model and processor.
        asked: scenes with a question each.
        methods: by the name they get in the frame.
        layer: of their schedules.

    Returns:
        One row per (sample, criterion, token): sample (the question's index), criterion (the method's name), token
        (its position in the prompt), rank (among the picture's tokens), kept (bool).
    """
    frames = []
    for sample, (scene, question) in enumerate(asked):
        inputs = loaded.inputs([scene.image], [question.text])
        positions = loaded.vision_positions(inputs)[0]
        tokens = {"token": positions, "rank": range(len(positions))}
        for name, method in methods.items():
            with method(loaded.model) as trace:
                loaded.model(**inputs, logits_to_keep=1)
            kept = np.isin(positions, trace.kept[layer][0].cpu().numpy())
            frames.append(pd.DataFrame({"sample": sample, "criterion": name, **tokens, "kept": kept}))
    return pd.concat(frames, ignore_index=True)


def kept_on_objects(loaded: Loaded, asked: Questions, methods: Mapping[str, Method], layer: int) -> pd.DataFrame:
    """How many of the tokens on digits, and of those beside them, are `kept_at_layer`.

    Returns:
        One row per (question, method): method, question, on_digits and beside, the shares kept.

    Raises:
        ValueError: the model's vision tokens are no square grid.
    """
    kept = kept_at_layer(loaded, asked, methods, layer)
    labelled = kept.merge(token_labels(asked, int(kept["rank"].max()) + 1), on=["sample", "rank"])
    labelled["side"] = np.where(labelled.on == "background", "beside", "on_digits")
    share = labelled.pivot_table(index=["sample", "criterion"], columns="side", values="kept", sort=False).reset_index()
    names = {"criterion": "method", "sample": "question"}
    return share.rename(columns=names).rename_axis(columns=None)[["method", "question", "on_digits", "beside"]]
