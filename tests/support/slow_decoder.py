"""A decoder that drops tokens, one sequence at a time: what methods inside the language model are compared with.

Float64, dense attention, plain products (`plain`): a drop takes columns out of the sequence and the layers go on with
the rest. What follows the prompt stands behind it from the start, so no cache is needed; a drop sees the prompt only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.support.float64_models import decoder_layer, logits


@dataclass
class Ran:
    """What one layer ran on: the prompt's columns by their positions in it, their input and their position ids."""

    layer: object
    names: list[int]
    x: Tensor
    ids: Tensor


@dataclass
class Seen:
    """What a reference may look at when it drops: the prompt's columns that are still there.

    Attributes:
        model: whose decoder runs.
        layer: number of the layer to come.
        x, ids: its input [n, width] and position ids [n].
        names: of each column, its position in the prompt.
        vision, text_after: columns of vision tokens, and of text behind the last that the prompt had.
        prompt: positions of all vision tokens that the prompt had.
        left: how many vision tokens are to be left.
        ran: the layers so far.
        weights, keys: of the layer before: attention map [heads, n, n] and rotated keys [n, heads, dim].
        scored: what the reference said of the vision tokens.
    """

    model: object
    layer: int
    x: Tensor
    ids: Tensor
    names: list[int]
    vision: list[int]
    text_after: list[int]
    prompt: list[int]
    left: int
    ran: list[Ran]
    weights: Tensor
    keys: Tensor
    scored: list[float] | None = None

    @property
    def layers(self):
        return self.model.model.layers

    def best(self, score: list[float]) -> list[int]:
        """Columns of the highest scores, one for each vision token; ties go to the earlier."""
        self.scored = [float(x) for x in score]
        order = sorted(range(len(score)), key=lambda i: (-float(score[i]), i))
        return sorted(self.vision[i] for i in order[: self.left])


# Columns that stay, and for those among them that are made anew: which position each goes by, and its state.
Chosen = tuple[list[int], dict[int, tuple[int, Tensor]]]


def slow(
    model,
    ids: Tensor,
    vision: list[int],
    left: dict[int, int],
    choose: Callable[[Seen], list[int] | Chosen],
    positions: str,
    steps: int,
) -> tuple[Tensor, dict[int, list[int]], dict[int, list[float]]]:
    """Logits at the prompt's last token and the `steps` that follow it; by layer who is left, and the scores.

    Args:
        model: a text model.
        ids: of prompt and steps, [n].
        vision: positions in the prompt.
        left: how many vision tokens are left from which layer on.
        choose: which columns go on.
        positions: "keep" or "repack".
        steps: tokens behind the prompt.
    """
    x, names = model.model.embed_tokens(ids).double(), list(range(len(ids)))
    where, at = list(vision), torch.arange(len(ids))
    weights, keys, ran, kept, scores = None, None, [], {}, {}
    for number, layer in enumerate(model.model.layers):
        end = len(x) - steps
        if number in left:
            if left[number] < len(where):
                text_after = [c for c in range(end) if names[c] > max(vision)]
                before = weights[:, :end, :end], keys[:end]
                seen = Seen(
                    model, number, x[:end], at[:end], names[:end], where, text_after, vision, left[number], ran, *before
                )
                found = choose(seen)
                scores[number] = seen.scored
                stay, made = found if isinstance(found, tuple) else (found, {})
                x = torch.stack([made[c][1] if c in made else x[c] for c in range(len(x))])
                names = [made[c][0] if c in made else name for c, name in enumerate(names)]
                there = [c for c in range(len(x)) if c not in where or c in stay]
                where = [i for i, c in enumerate(there) if c in stay]
                x, at, names = x[there], at[there], [names[c] for c in there]
                at = torch.arange(len(x)) if positions == "repack" else at
            kept[number] = [names[c] for c in where]
        end = len(x) - steps
        ran.append(Ran(layer, names[:end], x[:end], at[:end]))
        x, weights, keys = decoder_layer(layer, x, at)
    return logits(model, x)[len(x) - steps - 1 :], kept, scores


def fast(model, method, data, tokens: Tensor) -> tuple[Tensor, dict[int, list[int]], object]:
    """The same of the method, prompt first and then token by token from its cache, and its trace."""
    with method(model, **data.options) as trace:
        out = model(**data.inputs)
        found = [out.logits[0, -1]]
        for token in tokens[0]:
            out = model(input_ids=token.view(1, 1), past_key_values=out.past_key_values)
            found.append(out.logits[0, -1])
    return torch.stack(found), {layer: left[0].tolist() for layer, left in trace.kept.items()}, trace


def compare(
    model, method, data, choose: Callable[[Seen], list[int] | Chosen], positions: str, steps: int = 3
) -> object:
    """Kept sets and scores equal, outputs within 1e-4, after the prompt too; the method's trace."""
    torch.manual_seed(len(data.vision[0]))
    tokens = torch.randint(4, 64, (1, steps))
    got, kept, trace = fast(model, method, data, tokens)
    vision = data.vision[0].nonzero().flatten().tolist()
    left = method.schedule.after(len(vision))
    ids = torch.cat([data.inputs["input_ids"][0], tokens[0]])
    expected, slowly, scores = slow(model, ids, vision, left, choose, positions, steps)
    assert kept == slowly
    for layer, score in scores.items():
        torch.testing.assert_close(trace.scores[layer][0], torch.tensor(score), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(got.double(), expected, atol=1e-4, rtol=1e-4)
    return trace
