"""Text raters by plain loops: a reference for the methods that score by them."""

import math

import torch


def raters(seen) -> list[int]:
    """Columns of the text tokens whose share of the picture's likeness is above the mean; else the last."""
    start = seen.ran[0]  # what entered layer 0
    picture, text = seen.prompt, list(range(max(seen.prompt) + 1, len(start.names)))
    share = [0.0] * len(text)
    for v in picture:
        likeness = [float(start.x[v] @ start.x[t]) for t in text]
        total = sum(math.exp(x - max(likeness)) for x in likeness)
        for j, x in enumerate(likeness):
            share[j] += math.exp(x - max(likeness)) / total / len(picture)
    mean = sum(share) / len(share)
    # All alike means equal to the last digit; float64 rounds where a mean does not.
    chosen = [t for t, x in zip(text, share, strict=True) if x > mean + 1e-12] or text[-1:]
    return [seen.names.index(t) for t in chosen]


def mean_over(weights: torch.Tensor, rows: list[int], column: int) -> float:
    """Mean of some rows' weights on one column, over all heads [heads, n, n]."""
    return sum(float(weights[h, r, column]) for h in range(len(weights)) for r in rows) / len(weights) / len(rows)
