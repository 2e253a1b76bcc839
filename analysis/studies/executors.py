"""Where cells run: here, in several processes, or on a cluster that dask.distributed has workers on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from multiprocessing import get_context
from typing import Any

import torch

from v2drop.arguments import whole_number

WAIT = 60  # seconds for a scheduler to answer
ALLOWED = "'here', 'processes:4', 'dask' (workers on this machine), 'tcp://host:8786' or a scheduler file's path"


def executor_of(scheduler: str = "here") -> AbstractContextManager[Executor | None]:
    """The executor that a scheduler's name stands for, as a context that closes it.

    Args:
        scheduler: "here": one cell after the other in this process. "processes:4": four processes of this machine,
            which share its cores; on a machine with GPUs each takes one. "dask": dask's workers on this machine, one
            a core. Anything else: the address ("tcp://host:8786") or the file (".json") of a running dask scheduler,
            such as dask-jobqueue starts on SLURM.

    Raises:
        ValueError: There is no such scheduler, more processes than GPUs, or dask.distributed is not installed.
    """
    if scheduler == "here":
        return nullcontext()
    if not isinstance(scheduler, str):
        raise ValueError(f"scheduler must be {ALLOWED}; got {scheduler!r}.")
    if scheduler.startswith("processes:"):
        count = scheduler.removeprefix("processes:")
        return processes(int(count) if count.isdigit() else 0)
    return _dask(scheduler)


def processes(n: int) -> ProcessPoolExecutor:
    """An executor of n new processes of this machine; on a machine with GPUs, each sees one of its own.

    A cell that kills its process (out of memory, say) takes the others with it, and nobody knows which it was: the rest
    is left for the next run. Dask's workers survive it, and the cell is written as failed.

    Args:
        n: Their number.

    Raises:
        ValueError: `n` is no int of 1 or more, or there are fewer GPUs.
    """
    n, gpus = whole_number("processes", n, 1), torch.cuda.device_count()
    if 0 < gpus < n:
        raise ValueError(f"processes must be {gpus} at most, one for each GPU; got {n}.")
    new = get_context("spawn")  # a process that was forked cannot use a GPU, nor threads of torch
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    devices = given.split(",") if given else [str(number) for number in range(gpus)]
    return ProcessPoolExecutor(n, new, _begin, (new.Value("i", 0), devices[:gpus], max(1, cores // n)))


def _begin(begun: Any, devices: list[str], threads: int) -> None:
    """Take the next GPU and a share of the cores, before anything runs in a new process."""
    with begun.get_lock():
        number, begun.value = begun.value, begun.value + 1
    if devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    torch.set_num_threads(threads)


@contextmanager
def _dask(scheduler: str) -> Iterator[Executor]:
    """An executor on dask's workers; a cell takes one GPU of a worker where workers offer them."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ValueError(
            f"scheduler must be 'here' or 'processes:4' without dask.distributed; got {scheduler!r}. "
            "pip install 'v2drop[distributed]' gets it."
        ) from error
    with ExitStack() as closing:
        try:
            if scheduler == "dask":
                cluster = closing.enter_context(LocalCluster(threads_per_worker=1, dashboard_address=None))
                client = closing.enter_context(Client(cluster))
            elif scheduler.endswith(".json"):
                client = closing.enter_context(Client(scheduler_file=scheduler, timeout=WAIT))
            else:
                client = closing.enter_context(Client(scheduler, timeout=WAIT))
        except (OSError, ValueError) as error:
            raise ValueError(f"scheduler must be {ALLOWED}; got {scheduler!r}: {error}") from error
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        gpu = {"resources": {"GPU": 1}} if any("GPU" in each["resources"] for each in workers) else {}
        # Pure would give two cells with equal arguments one result, and a cell that is tried again its old error.
        yield client.get_executor(pure=False, **gpu)
