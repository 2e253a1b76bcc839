"""Where the rows of a cell come from: the commit, the machine, and how the model was run there."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from analysis.studies.cells.models import model_of

TOP = Path(__file__).resolve().parents[3]


class Provenance(NamedTuple):
    """Where the rows of a cell come from.

    Attributes:
        commit: The commit of the checkout; "" where the package is installed without one.
        dirty: Whether files under version control differed from it.
        started: When the cell began, UTC, ISO 8601.
        seconds: How long it took.
        host: The name of the machine.
        hardware: Its processor and its number of cores, and the GPU if there is one.
        device: Where the model was, "cpu" or "cuda"; "" for a cell without a model.
        dtype: The type of its weights, "float32".
        operator: Its attention operator, "sdpa".
        threads: The threads that torch ran on.
    """

    commit: str
    dirty: bool
    started: str
    seconds: float
    host: str
    hardware: str
    device: str
    dtype: str
    operator: str
    threads: int


def provenance(subject: str | None, started: float, seconds: float) -> Provenance:
    """The provenance of a cell that ran in this process just now.

    Args:
        subject: Its model, which is loaded already; None for a cell without one.
        started: When it began, in seconds since 1970.
        seconds: How long it took.
    """
    device = dtype = operator = ""
    if subject is not None:
        model = model_of(subject).model
        device, dtype = model.device.type, str(model.dtype).removeprefix("torch.")
        operator = str(model.config.get_text_config()._attn_implementation)
    began = datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds")
    machine = (platform.node(), hardware(), device, dtype, operator, torch.get_num_threads())
    return Provenance(*checkout(), began, round(seconds, 3), *machine)


@cache
def checkout() -> tuple[str, bool]:
    """The commit of the code, and whether files under version control differ from it; ("", False) without git."""
    try:
        top, commit, changes = (
            subprocess.run(["git", "-C", TOP, *command], capture_output=True, text=True, check=True, timeout=60).stdout
            for command in (["rev-parse", "--show-toplevel"], ["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.SubprocessError):
        return "", False
    if Path(top.strip()).resolve() != TOP:  # an installed package in a folder of somebody else's checkout
        return "", False
    return commit.strip(), bool(changes.strip())


@cache
def hardware() -> str:
    """The processor, its cores that this process may use, and the GPU.

    >>> "cores" in hardware()
    True
    """
    info = Path("/proc/cpuinfo")  # platform.processor() says nothing on most Linux machines
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = f"; {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{names[0] if names else platform.processor() or platform.machine()}, {cores} cores{gpu}"
