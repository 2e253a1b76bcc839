"""Impact of vision tokens in groups: what each adds to the answer's log probability when only some tokens stay.

Let v(S) be the log probability of the right answer, in nats, when of the vision tokens only those of S stay behind
layer l: all others are removed from layer l + 1 on, as `remove_token` removes one. A token that is idle while all
others are there may matter where many are gone. Effects are signed: above 0, the token helps the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float

from analysis.group_impact.answer_game import AnswerGame
from analysis.models.loaded import Loaded
from analysis.models.loaded_argument import check_loaded
from analysis.progress import progress_bar
from analysis.residual_stream.frozen_decoder import FrozenDecoder, differentiable_attention
from analysis.residual_stream.measured_tokens import check_layers, layers_at, token_keys
from analysis.scenes.asked import asked, prompts
from analysis.scenes.question_seeds import question_seeds
from analysis.scenes.questions import Questions
from analysis.statistics.lists import numbers
from analysis.statistics.rankings import checked_ratios, n_kept
from analysis.statistics.shapley import (
    antithetic_orders,
    bootstrap_effects,
    inclusion_effects,
    marginal_contributions,
    prefixes,
    random_subsets,
)
from analysis.statistics.studentised import bootstrap_interval
from v2drop.arguments import seed_number, whole_number

DEPTHS = (1 / 12, 1 / 3, 1 / 2, 3 / 4)  # where tokens are dropped if no layers are named, as shares of the layers
MEASURED = ["value", "low", "high", "first_half", "second_half"]

Values = Callable[[Bool[np.ndarray, "subset player"]], Float[np.ndarray, " subset"]]  # v behind one layer
Estimate = tuple[str, int, float, list[np.ndarray]]  # effect, draws, mean of v, the columns of MEASURED


def inclusion_impact(
    loaded: Loaded,
    questions: Questions,
    layers: Collection[int] | int | None = None,
    ratios: Sequence[float] | float = (1 / 3, 1 / 2),
    subsets: int = 640,
    seed: int = 0,
    batch_size: int = 16,
) -> pd.DataFrame:
    r"""Inclusion effects, :math:`E[v(S) | j \in S] - E[v(S) | j \notin S]`, of every vision token at some budgets.

    S are random subsets of one size, drawn for each question by itself (`analysis.statistics.shapley`), the same behind
    every layer. Answers of several tokens are read by teacher forcing. Computed in float32, log probabilities in
    float64.

    Args:
        loaded: Model and processor.
        questions: Pairs (scene, question); of a question its text and answer are read.
        layers: Layers l behind which tokens are dropped; None for those before drops at 1/12, 1/3, 1/2 and 3/4 of the
            layers.
        ratios: Shares of the vision tokens that stay.
        subsets: The number of subsets of a budget, 2 or more.
        seed: The seed of the subsets.
        batch_size: The number of subsets that run at once.

    Returns:
        One row per (sample, layer, effect, token): sample (index of the question), layer, token (its position in the
        prompt), effect ("inclusion@0.33": at a third of the tokens), vision_index (its rank among the vision tokens),
        value (nats), low, high (95 % bootstrap interval over subsets), first_half, second_half (the value by either
        half of the subsets), draws (subsets), all_kept, none_kept (v with all vision tokens and with none), mean_kept
        (mean v of the subsets).

    Raises:
        ValueError: An argument is none of those above, the model or its inputs are not supported (`variation_impact`),
            or a prompt has no vision token.
    """
    ratios, subsets = checked_ratios(numbers("ratios", ratios)), whole_number("subsets", subsets, 2)

    def estimates(values: Values, n: int, seed: int) -> Iterator[Estimate]:
        for ratio in ratios:
            kept = random_subsets(n, n_kept(ratio, n), subsets, np.random.default_rng([seed, n_kept(ratio, n)]))
            worth = values(kept)
            halves = np.array_split(np.arange(subsets), 2)
            parts = [inclusion_effects(kept[some], worth[some]) for some in halves]
            whole = [inclusion_effects(kept, worth), *bootstrap_effects(kept, worth)]
            yield f"inclusion@{ratio:.2f}", subsets, float(worth.mean()), whole + parts

    return _frame(loaded, questions, layers, seed, batch_size, estimates)


def shapley_impact(
    loaded: Loaded,
    questions: Questions,
    layers: Collection[int] | int | None = None,
    pairs: int = 8,
    seed: int = 0,
    batch_size: int = 16,
) -> pd.DataFrame:
    """Shapley values of every vision token, in nats, from random orders of the tokens and their reverses.

    Args:
        loaded: As for `inclusion_impact`, with the three arguments that are not described here.
        questions: Pairs (scene, question).
        layers: Layers l behind which tokens are dropped.
        pairs: The number of orders, each run forwards and backwards, 2 or more. One takes v of 2 n subsets.
        seed: The seed of the orders.
        batch_size: The number of subsets that run at once.

    Returns:
        The columns of `inclusion_impact`, the effect "shapley" alone; draws are pairs, and low and high the interval
        over them of `bootstrap_interval`, which holds for few; mean_kept is the mean v over sizes 0 to n. The values of
        a sample and layer add up to all_kept - none_kept.

    Raises:
        ValueError: As for `inclusion_impact`.
    """
    pairs = whole_number("pairs", pairs, 2)

    def estimates(values: Values, n: int, seed: int) -> Iterator[Estimate]:
        orders = antithetic_orders(n, pairs, np.random.default_rng([seed, 0]))  # [seed, k] draws subsets of k
        worth = np.empty((len(orders), n + 1))
        worth[:, [0, n]] = values(np.stack([np.zeros(n, dtype=bool), np.ones(n, dtype=bool)]))
        worth[:, 1:n] = values(prefixes(orders)[:, 1:n].reshape(-1, n)).reshape(len(orders), n - 1)
        added = marginal_contributions(orders, worth).reshape(pairs, 2, n).mean(1)
        halves = [half.mean(0) for half in np.array_split(added, 2)]
        yield (
            "shapley",
            pairs,
            float(worth.mean()),
            [added.mean(0), *np.transpose([*map(bootstrap_interval, added.T)]), *halves],
        )

    return _frame(loaded, questions, layers, seed, batch_size, estimates)


@torch.no_grad()
def _frame(
    loaded: Loaded,
    questions: Questions,
    layers: Collection[int] | int | None,
    seed: int,
    batch_size: int,
    estimates: Callable[[Values, int, int], Iterator[Estimate]],
) -> pd.DataFrame:
    check_loaded(loaded)
    questions, seed = asked(questions, "text", "answer"), seed_number(seed)
    batch_size = whole_number("batch_size", batch_size, 1)
    layers = layers_at(loaded.n_layers, DEPTHS) if layers is None else check_layers(loaded.model, layers)
    frames = []
    with differentiable_attention(loaded.model):
        decoder = FrozenDecoder(loaded.model, torch.float32, "logits")
        seeds = enumerate(zip(questions, question_seeds(seed, questions), strict=True))
        for number, ((scene, question), own) in progress_bar(seeds, desc="questions", total=len(questions)):
            inputs = prompts(loaded, [(scene, question)])
            answer, players = loaded.answer_ids(question.text, question.answer), loaded.vision_positions(inputs)[0]
            game = AnswerGame(decoder, loaded.model, inputs, answer, players)
            for layer in layers:
                frames += _layer_frames(game, number, layer, own, batch_size, estimates)
    return pd.concat(frames, ignore_index=True)


def _layer_frames(
    game: AnswerGame, sample: int, layer: int, seed: int, batch_size: int, estimates: Callable
) -> Iterator[pd.DataFrame]:
    n = len(game.tokens)
    ends = game.values(layer, np.stack([np.ones(n, dtype=bool), np.zeros(n, dtype=bool)]))
    keys = token_keys(sample, [layer], game.stream, game.tokens)
    for effect, draws, mean, columns in estimates(lambda kept: game.values(layer, kept, batch_size), n, seed):
        named = keys.assign(effect=effect, vision_index=np.arange(n), **dict(zip(MEASURED, columns, strict=True)))
        yield named.assign(draws=draws, all_kept=ends[0], none_kept=ends[1], mean_kept=mean)
