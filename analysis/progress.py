"""Progress bars: widgets in a notebook, a line in a terminal, and nothing where TQDM_DISABLE is set. In no room."""

from __future__ import annotations

import os

from tqdm import tqdm
from tqdm.auto import tqdm as tqdm_auto


def progress_bar(*args: object, **options: object) -> tqdm:
    """Return tqdm's bar for where this runs; its widgets, unlike its lines, do not read TQDM_DISABLE themselves.

    Args:
        *args: positional arguments of `tqdm.tqdm`.
        **options: keyword arguments of `tqdm.tqdm`.
    """
    return (tqdm if os.environ.get("TQDM_DISABLE") else tqdm_auto)(*args, **options)
