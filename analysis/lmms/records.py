"""What results say of vision tokens: per request, and their means over a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.lmms.asking import Tokens
from analysis.studies.cells.rows import as_column


def of_request(tokens: Tokens) -> dict[str, Any]:
    """The entry of a request under `token_counts` of its sample.

    Args:
        tokens: Its tokens.

    >>> of_request(Tokens(prompt=149, output=1, vision=144, layer_average=47.75, left={1: 69, 6: 34}))
    ... # doctest: +NORMALIZE_WHITESPACE
    {'input_tokens': 149, 'output_tokens': 1, 'vision_tokens': 144, 'layer_average': 47.75, 'schedule': '1: 69; 6: 34'}
    """
    schedule = as_column({str(layer): count for layer, count in tokens.left.items()})
    counts = {"input_tokens": tokens.prompt, "output_tokens": tokens.output, "vision_tokens": tokens.vision}
    return counts | {"layer_average": tokens.layer_average, "schedule": schedule}


def of_run(requests: Sequence[Tokens]) -> dict[str, float]:
    """Means over the requests that show something: vision_tokens, layer_average, and the schedule, layer by layer.

    Args:
        requests: The tokens of each request.

    >>> of_run([Tokens(149, 1, 144, 48.0, {1: 69}), Tokens(80, 1, 72, 24.0, {1: 33}), Tokens(5, 1, 0, 0.0, {})])
    {'vision_tokens': 108.0, 'layer_average': 36.0, 'left_from_layer_1': 51.0}
    """
    seen = [each for each in requests if each.vision]
    if not seen:
        return {}
    means = {name: float(np.mean([getattr(each, name) for each in seen])) for name in ("vision", "layer_average")}
    layers = sorted({layer for each in seen for layer in each.left})
    left = {f"left_from_layer_{layer}": float(np.mean([each.left[layer] for each in seen])) for layer in layers}
    return {"vision_tokens": means["vision"], "layer_average": means["layer_average"], **left}
