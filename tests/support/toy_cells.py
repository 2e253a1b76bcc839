"""Cells of studies that need no model: quick ones, and some that fail, wait or kill their process."""

import functools
import os
import signal
import time
from pathlib import Path

import pandas as pd


def power(base, exponent=2, seed=0):
    """Two rows a cell."""
    return pd.DataFrame({"question": [0, 1], "value": [base**exponent + seed, float("nan")], "word": ["a", None]})


def broken(base):
    """Fails for three, and for two as long as the file "broken" is where it runs."""
    if base == 3 or (base == 2 and Path("broken").exists()):
        raise ArithmeticError(f"no power of {base}")
    return power(base)


def slow(base, seconds=0.001):
    """Takes its time."""
    time.sleep(seconds)
    return power(base)


def killer(base, folder):
    """The first time that seven is asked for, its process dies."""
    mark = Path(folder) / "killed"
    if base == 7 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return power(base)


def poison(base):
    """Seven kills every process."""
    if base == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return power(base)


def nothing(base):
    """No rows."""
    return pd.DataFrame()


def threads(base):
    """The process, and the threads of torch in it."""
    import torch

    return pd.DataFrame({"pid": [os.getpid()], "threads": [torch.get_num_threads()]})


def twice(function):
    """A decorator from elsewhere."""
    return functools.wraps(function)(lambda *args, **kwargs: function(*args, **kwargs))


@twice
def decorated(base):
    """A cell under a decorator."""
    return power(base)


def unstorable(base):
    """Rows that cannot be stored as plain data, or would be mistaken for arguments."""
    if base == 1:
        return pd.DataFrame({"day": [pd.Timestamp("2026-11-26")]})
    if base == 2:
        return pd.DataFrame({"base": [2]})
    if base == 3:
        return power(base).groupby("word").sum()
    return power(base)
