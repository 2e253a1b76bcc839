"""Released schedules, made for LLaVA-1.5-7B, at the same relative depths of another decoder."""

from v2drop.budgets.schedule import Schedule

RELEASED_DEPTH = 32  # decoder layers of LLaVA-1.5-7B


def scaled(released_schedule: Schedule, first_layer: int, n_layers: int) -> dict[int, float]:
    """Shares left, by drop layer of the other decoder.

    Two released layers that round to the same layer become one drop, with the share of the later.

    Args:
        released_schedule: schedule of the released code on LLaVA-1.5-7B, in shares.
        first_layer: first layer at which tokens may be dropped.
        n_layers: number of decoder layers of the other model; more than `first_layer`.

    >>> scaled(Schedule({3: 0.5, 17: 0.25, 22: 0.0}), first_layer=1, n_layers=12)
    {1: 0.5, 6: 0.25, 8: 0.0}
    """
    left = {}
    for layer, share in released_schedule.left.items():
        lowest = max(first_layer, min(layer, n_layers - 1, 1))  # only a drop at layer 0 may become one at layer 0
        left[min(max(round(layer / RELEASED_DEPTH * n_layers), lowest), n_layers - 1)] = share
    return left
