"""Where things lie: the quarter of the picture, and which one is next to another in a direction."""

from __future__ import annotations

from collections.abc import Sequence

QUADRANTS = ("top-left", "top-right", "bottom-left", "bottom-right")
DIRECTIONS = {"left": (0, -1), "right": (0, 1), "above": (-1, 0), "below": (1, 0)}  # rows, columns
CLEAR = 1.25  # how many times as far along the direction as across it a neighbour must lie
MARGIN = 0.05  # of the picture's side: nearer to a middle line, no quarter is named

Place = tuple[int | float, int | float]  # row and column


def quadrant(place: Place, side: int) -> str | None:
    """The quarter of a picture in which a place lies; None near a middle line.

    >>> quadrant((10, 80), 96), quadrant((10, 50), 96)
    ('top-right', None)
    """
    if min(abs(line - side / 2) for line in place) < MARGIN * side:
        return None
    return QUADRANTS[2 * (place[0] > side / 2) + (place[1] > side / 2)]


def neighbour(which: int, places: Sequence[Place], direction: str) -> int | None:
    """The only thing that lies in a direction from another; None if there is no such, or it is not clear.

    A thing lies there if it is CLEAR times as far along the direction as across it. It is not clear if there are two,
    or if another is nearly there: less than CLEAR times as far across as along.

    Args:
        which: The index of the thing from which one looks.
        places: The middles of all things.
        direction: A key of DIRECTIONS.

    Returns:
        The index of the thing found.

    >>> neighbour(0, [(50, 50), (55, 10), (20, 55)], "left")
    1
    """
    (down, right), found, unclear = DIRECTIONS[direction], [], False
    for index, place in enumerate(places):
        rows, columns = (a - b for a, b in zip(place, places[which], strict=True))
        along, across = rows * down + columns * right, abs(rows * right) + abs(columns * down)
        if index == which or along * CLEAR <= across:
            continue
        if along >= CLEAR * across:
            found.append(index)
        else:
            unclear = True
    return found[0] if len(found) == 1 and not unclear else None
