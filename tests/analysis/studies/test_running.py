"""Studies that are stopped, killed, broken or sent elsewhere: every finished cell stays, and none is mistaken."""

import _thread
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import pytest

from analysis.studies import Study, grid, reading, run
from analysis.studies.cells import identity, models
from analysis.studies.cells.store import Store
from analysis.studies.executors import executor_of, processes
from tests.support import toy_cells

POWERS = Study("powers", toy_cells.power, grid(base=[1, 2, 3], exponent=[2, 3]))


def test_the_rows_of_all_cells_with_their_arguments(tmp_path):
    frame = run(POWERS, tmp_path)
    assert list(frame.columns) == ["base", "exponent", "seed", "question", "value", "word"]
    assert list(frame.base) == [b for b in (1, 2, 3) for _ in range(4)]
    assert list(frame.value[::2]) == [1, 1, 4, 8, 9, 27] and frame.value[1::2].isna().all()
    assert frame.value.dtype == float and frame.question.dtype == int and set(frame.word[::2]) == {"a"}


def test_finished_cells_are_not_run_again(tmp_path, monkeypatch):
    first = run(POWERS, tmp_path)
    monkeypatch.setattr("analysis.studies.running.run_cell", None)
    pd.testing.assert_frame_equal(run(POWERS, tmp_path), first)
    assert len(list(tmp_path.iterdir())) == 6


def test_an_argument_counts_the_same_given_or_left_to_its_default(tmp_path, monkeypatch):
    run(Study("a", toy_cells.power, [{"base": 3}]), tmp_path)
    monkeypatch.setattr("analysis.studies.running.run_cell", None)
    given = Study("b", toy_cells.power, [{"exponent": 2, "base": 3, "seed": 0}])
    assert run(given, tmp_path).value[0] == 9
    (record,) = reading.finished(given, tmp_path)
    assert record.identity.passed == {"base": 3} and record.identity.defaulted == {"exponent": 2, "seed": 0}


@pytest.mark.parametrize(
    "change",
    [
        ("package_code", lambda: "other code"),
        ("versions", lambda: {"python": "4.0"}),
        ("_source", lambda cell: "other source"),
        ("_model", lambda subject: "another checkpoint"),
    ],
    ids=lambda change: change[0],
)
def test_cells_of_other_code_or_another_model_are_not_read(tmp_path, monkeypatch, change):
    run(POWERS, tmp_path)
    monkeypatch.setattr(identity, *change)
    assert set(reading.status(POWERS, tmp_path).state) == {"missing"}
    with pytest.raises(ValueError, match="it holds none"):
        reading.read(POWERS, tmp_path)
    run(POWERS, tmp_path)
    assert len(list(tmp_path.iterdir())) == 12


def test_the_code_of_every_room_that_computes_counts(tmp_path, monkeypatch):
    for package, file in (("v2drop", "a.py"), ("analysis", "b/c.py"), ("analysis", "figures/d.py")):
        path = tmp_path / package / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a = 1")
    monkeypatch.setattr(identity, "TOP", tmp_path)
    digests = [identity.package_code.__wrapped__()]
    for file in ("v2drop/a.py", "analysis/b/c.py", "analysis/figures/d.py"):
        (tmp_path / file).write_text("a = 2")
        digests.append(identity.package_code.__wrapped__())
    assert len(set(digests[:3])) == 3 and digests[3] == digests[2]


def test_a_failed_cell_keeps_its_error_and_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken").touch()
    study = Study("broken", toy_cells.broken, grid(base=[1, 2, 3, 4]))
    with pytest.warns(UserWarning, match=r"2 of 4 cells of 'broken' failed(.|\n)*ArithmeticError: no power of 2"):
        assert set(run(study, "store").base) == {1, 4}
    found = reading.status(study, "store")
    assert list(found.state) == ["done", "failed", "failed", "done"]
    assert found.error[1] == "ArithmeticError: no power of 2" and found.seconds.notna().all()
    (tmp_path / "broken").unlink()
    with pytest.warns(UserWarning, match="1 of 4 cells"):
        assert set(run(study, "store").base) == {1, 2, 4}
    assert len(list((tmp_path / "store").iterdir())) == 4


def test_a_cell_without_rows_has_failed(tmp_path):
    with pytest.warns(UserWarning, match="must return a DataFrame with rows"), pytest.raises(ValueError, match="none"):
        run(Study("nothing", toy_cells.nothing, grid(base=[1])), tmp_path)


def test_damaged_files_are_made_again(tmp_path):
    first = run(POWERS, tmp_path)
    one, two, three, four, *_ = sorted(tmp_path.iterdir())
    one.write_bytes(one.read_bytes()[:-9])
    two.write_bytes(b"")
    three.write_bytes(b"no gzip at all")
    bent = bytearray(four.read_bytes())
    bent[40:60] = bytes(20)
    four.write_bytes(bent)
    assert (reading.status(POWERS, tmp_path).state == "missing").sum() == 4
    pd.testing.assert_frame_equal(run(POWERS, tmp_path), first)


def test_a_hundred_kills_lose_no_finished_cell(tmp_path):
    study, rng = Study("slow", toy_cells.slow, grid(base=range(400))), random.Random(0)
    forks, known, kills = get_context("forkserver"), set(), 0  # a fork of a process that runs no threads
    forks.set_forkserver_preload(["tests.support.toy_cells", "analysis.studies"])
    while kills < 100:
        process = forks.Process(target=run, args=(study, tmp_path))
        process.start()
        time.sleep(rng.uniform(0, 0.05))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        found = {path for path in tmp_path.glob("*.json.gz")}
        assert known <= found and all(Store(tmp_path).read(path.name.split(".")[0]) for path in found - known)
        known = found
    assert run(study, tmp_path).base.nunique() == 400
    assert len(list(tmp_path.iterdir())) == 400  # and no draft of those that were killed


def test_a_file_gets_its_name_when_it_is_whole(tmp_path, monkeypatch):
    whole = Path.write_bytes

    def half(path, data):
        whole(path, data[: len(data) // 2])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(KeyboardInterrupt):
        run(POWERS, tmp_path)
    assert not list(tmp_path.glob("*.json.gz"))


@pytest.mark.parametrize("workers", [0, 1], ids=["here", "elsewhere"])
def test_a_stop_cancels_what_was_not_begun_and_keeps_the_rest(tmp_path, workers):
    study = Study("slow", toy_cells.slow, grid(base=range(200), seconds=[0.01]))

    def interrupt():
        while len(list(tmp_path.iterdir())) < 3:
            time.sleep(0.002)
        _thread.interrupt_main()  # what Ctrl-C does

    known = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored in the background
    try:
        with ThreadPoolExecutor(1) as executor, pytest.raises(KeyboardInterrupt):
            threading.Thread(target=interrupt, daemon=True).start()
            run(study, tmp_path, executor if workers else None)
    finally:
        signal.signal(signal.SIGINT, known)
    assert 3 <= len(list(tmp_path.iterdir())) < 200
    assert run(study, tmp_path).base.nunique() == 200


def test_processes_take_cells_and_give_the_same_rows(tmp_path):
    with processes(2) as executor:
        elsewhere = run(POWERS, tmp_path / "elsewhere", executor)
        apart = run(Study("threads", toy_cells.threads, grid(base=range(8))), tmp_path / "threads", executor)
    pd.testing.assert_frame_equal(elsewhere, run(POWERS, tmp_path / "here"))
    assert os.getpid() not in set(apart.pid) and set(apart.threads) == {max(1, len(os.sched_getaffinity(0)) // 2)}


def test_a_dead_process_stops_its_pool_and_the_next_run_goes_on(tmp_path):
    study = Study("killer", toy_cells.killer, grid(base=range(12), folder=[str(tmp_path)]))
    with processes(1) as executor, pytest.warns(UserWarning, match="not run: BrokenProcessPool"):
        partly = run(study, tmp_path / "store", executor)
    assert set(partly.base) == set(range(7))
    assert set(reading.status(study, tmp_path / "store").state) == {"done", "missing"}
    assert run(study, tmp_path / "store").base.nunique() == 12


def test_dask_workers_of_which_one_is_killed_finish_every_cell(tmp_path):
    distributed = pytest.importorskip("distributed")
    study = Study("killer", toy_cells.killer, grid(base=range(20), folder=[str(tmp_path)]))
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with distributed.LocalCluster(**settings) as cluster, executor_of(cluster.scheduler_address) as executor:
        assert run(study, tmp_path / "store", executor).base.nunique() == 20
        poisoned = Study("poison", toy_cells.poison, grid(base=range(20)))
        with pytest.warns(UserWarning, match=r"1 of 20 cells of 'poison' failed(.|\n)*KilledWorker"):
            assert run(poisoned, tmp_path / "store", executor).base.nunique() == 19
    assert (tmp_path / "killed").exists()
    assert reading.status(poisoned, tmp_path / "store").set_index("cell").state['{"base":7}'] == "failed"


def test_a_worker_with_other_code_refuses(tmp_path, monkeypatch):
    (told, *_) = reading.identities(POWERS)
    with pytest.raises(RuntimeError, match="must have the code of the process that sends it cells"):
        from analysis.studies.running import run_cell

        run_cell("powers", toy_cells.power, told._replace(code="other"), Store(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheduler", ["processes:0", "processes:two", "nowhere", 3])
def test_wrong_schedulers_are_refused(scheduler, without_type_checker):
    with pytest.raises(ValueError, match="must be"), executor_of(scheduler):
        pass


def test_what_cannot_be_stored_fails_as_a_cell_and_stops_none(tmp_path):
    study = Study("unstorable", toy_cells.unstorable, grid(base=[1, 2, 3, 4]))
    with pytest.warns(UserWarning, match="3 of 4 cells"):
        assert set(run(study, tmp_path).base) == {4}
    errors = reading.status(study, tmp_path).error
    for said, error in zip(
        ("numbers, truths and texts", "named as its arguments", "keys as columns"), errors, strict=False
    ):
        assert said in error


def test_the_file_of_a_decorated_cell_is_its_own():
    assert identity._source(toy_cells.decorated) == identity._source(toy_cells.power) != ""


def test_generators_are_lists_of_cells_and_values(without_type_checker):
    assert len(Study("g", toy_cells.power, ({"base": i} for i in range(3))).cells) == 3
    assert len(grid(base=(i for i in range(3)), exponent=iter([1, 2]))) == 6


def test_what_depends_on_more_than_its_arguments_is_no_cell(without_type_checker):
    def inner(base):
        return toy_cells.power(base)

    for cell in (inner, partial(toy_cells.power, base=1), lambda **arguments: None, "power", print):
        with pytest.raises(ValueError, match="cell must"):
            Study("x", cell, [{"base": 1}])


def test_a_checkpoint_that_was_overwritten_is_another(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"one")
    first = models.model_checksum(str(tmp_path))
    weights.write_bytes(b"other")
    assert models.model_checksum(str(tmp_path)) != first
    weights.unlink()
    with pytest.raises(ValueError, match="folder with weights"):
        models.model_checksum(str(tmp_path))
