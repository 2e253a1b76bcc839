"""The released schedules, whose layers are those of LLaVA-1.5-7B, at the same depths of another decoder."""

from v2drop.budgets.schedule import Schedule

RELEASED_DEPTH = 32  # decoder layers of LLaVA-1.5-7B


def scaled(released_schedule: Schedule, first_layer: int, n_layers: int) -> dict[int, float]:
    """Shares left by drop layer; two released layers that fall together are one.

    Args:
        released_schedule: schedule of the released code on LLaVA-1.5-7B, in shares.
        first_layer: tokens may be dropped from this layer on.
        n_layers: decoder layers of the other model, more than `first_layer`.

    >>> scaled(Schedule({3: 0.5, 17: 0.25, 22: 0.0}), first_layer=1, n_layers=12)
    {1: 0.5, 6: 0.25, 8: 0.0}
    """
    left = {}
    for layer, share in released_schedule.left.items():
        first = max(first_layer, min(layer, n_layers - 1, 1))  # a later layer does not become the entry
        left[min(max(round(layer / RELEASED_DEPTH * n_layers), first), n_layers - 1)] = share
    return left
