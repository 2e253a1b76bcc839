"""Folders of long work: faults are found before the work, files are whole or not there, other work is not mixed in."""

import errno
import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from analysis import work_folders
from analysis.group_impact import sweep as group_sweep
from analysis.report import notebooks
from analysis.report.__main__ import main as report
from analysis.theorem import sweep
from analysis.training import evaluate, train
from analysis.work_folders import check_writable, claim, written_whole


def full(*args):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_only(*args, **kwargs):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_good_folder_is_made_and_left_empty(tmp_path):
    check_writable("--output", tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_is_no_folder(tmp_path, name):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ValueError, match=r"--work must be a folder that can be written to; got '.*file.*': "):
        check_writable("--work", tmp_path / name)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_full_and_a_read_only_disk_are_said(tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(ValueError, match="No space left on device"):
        patched.setattr(work_folders.os, "fsync", full)
        check_writable("--output", tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(ValueError, match="Read-only file system"):
        check_writable("--output", tmp_path / "new")


@pytest.mark.parametrize("command", ["report", "train", "train work", "sweep", "group sweep", "evaluate"])
def test_every_long_command_looks_at_its_target_first(command, tmp_path, monkeypatch, capsys):
    """The old report ran its notebooks before it wrote; all that is slow fails here if it is reached."""
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), tmp_path / "a.ipynb")
    slow_ones = ((notebooks, "execute"), (train, "build"), (sweep, "one_question"), (group_sweep, "one_question"))
    for owner, slow in (*slow_ones, (evaluate, "evaluate")):
        monkeypatch.setattr(owner, slow, lambda *args, **kwargs: pytest.fail("worked first"))
    monkeypatch.setattr(work_folders.os, "fsync", full)
    runs = {
        "report": (lambda: report(["--notebooks", str(tmp_path), "--output", str(tmp_path / "o")]), []),
        "train": (train.main, ["--output", str(tmp_path / "o"), "--work", str(tmp_path / "w")]),
        "train work": (train.main, ["--work", str(tmp_path / "a.ipynb"), "--output", "/"]),
        "sweep": (sweep.main, ["--output", str(tmp_path / "o")]),
        "group sweep": (group_sweep.main, ["--output", str(tmp_path / "o")]),
        "evaluate": (evaluate.main, [str(train.__file__).replace("analysis/training/train.py", "data/mosaic_llava")]),
    }
    run, arguments = runs[command]
    monkeypatch.setattr(sys, "argv", [command, *arguments])
    with pytest.raises(SystemExit) as ended:
        run()
    said = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2 and "must be a folder that can be written to; got" in said


@pytest.mark.parametrize(
    ("main", "arguments", "said"),
    [
        (train.main, ["--output", "o", "--tower-steps", "0"], "--tower-steps must be an int of 1 or more; got 0"),
        (train.main, ["--output", "o", "--decoder-batch", "-1"], "--decoder-batch must be an int of 1 or more; got -1"),
        (sweep.main, ["--output", "o", "--questions", "0"], "--questions must be an int of 1 or more; got 0"),
        (evaluate.main, ["o", "-n", "0"], "-n must be an int of 2 or more; got 0"),
        (evaluate.main, ["o"], "cannot be loaded"),
    ],
)
def test_numbers_of_a_command_that_mean_nothing(main, arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit):
        main()
    assert said in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_what_was_written_half_is_not_there(tmp_path, fault):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(fault), written_whole(path) as draft:
        draft.write_text("ne")
        raise fault
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with written_whole(path) as draft:
        draft.write_text("new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


def test_work_goes_on_with_the_settings_it_began_with(tmp_path):
    claim(tmp_path, "x", {"steps": 3, "rate": 0.1}, started=False)
    claim(tmp_path, "x", {"steps": 3, "rate": 0.1}, started=True)
    with pytest.raises(ValueError, match=r"'x' of another run, made with steps 3 \(now 4\)\. Use those settings again"):
        claim(tmp_path, "x", {"steps": 4, "rate": 0.1}, started=True)
    claim(tmp_path, "x", {"steps": 4, "rate": 0.1}, started=False)  # nothing was made with the old ones
    assert json.loads((tmp_path / "x.settings.json").read_text()) == {"steps": 4, "rate": 0.1}


def test_work_of_unknown_settings_is_not_gone_on_with(tmp_path):
    with pytest.raises(ValueError, match=r"made with steps unknown \(now 4\)"):
        claim(tmp_path, "x", {"steps": 4}, started=True)
    assert list(tmp_path.iterdir()) == []
