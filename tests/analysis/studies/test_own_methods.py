"""`--methods mine.py`: a method from outside in studies; cells of another version of its file are never its own."""

from pathlib import Path

import pytest

from analysis.studies import Study, ask, grid, reading, run
from analysis.studies.__main__ import main
from analysis.studies.cells.store import Store
from analysis.studies.finding import asking_also
from analysis.studies.running import run_cell
from tests.support import toy_cells
from tests.support.own_methods import nothing_added, written  # noqa: F401 - a fixture
from v2drop.methods.from_file import add_methods

pytestmark = pytest.mark.usefixtures("nothing_added")
CELLS = grid(subject=["embedded"], method=["my_method", "random"], average=[72], layers=[(3, 6)], n=[4])
STUDY = Study("mine", ask, CELLS)
OWN = f"from analysis.studies import Study, ask\n\nSTUDY = Study('own', ask, {CELLS})\n"
POWERS = Study("powers", toy_cells.power, grid(base=[1]))


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return written(tmp_path / "mine.py")


def states(study=STUDY, store="store"):
    return list(reading.status(study, store).state)


def test_cells_of_another_version_of_the_file_are_not_read(file):
    add_methods(file)
    first = run(STUDY, "store")
    assert states() == ["done", "done"]
    add_methods(written(file, "-1.0"))
    assert states() == ["missing", "done"]  # random dropping is the same
    other = run(STUDY, "store")
    mine = [frame[frame.method == "my_method"].log_probability.tolist() for frame in (first, other)]
    assert mine[0] != mine[1]
    add_methods(written(file))
    assert states() == ["done", "done"] and len(list(Path("store").iterdir())) == 3
    assert reading.read(STUDY, "store").equals(first)


def test_a_function_from_elsewhere_may_reach_any_of_them(file):
    run(POWERS, "store")
    add_methods(file)
    assert states(POWERS) == ["missing"]
    add_methods(written(file, "-1.0"))
    run(POWERS, "store")
    add_methods(written(file))
    assert states(POWERS) == ["missing"]


def test_the_same_file_elsewhere_makes_the_same_cells(file, tmp_path):
    add_methods(file)
    keys = [each.key for each in reading.identities(STUDY)]
    file.write_text("from v2drop import Random as R\n\nclass Other(R):\n    pass\n")
    add_methods(file)
    add_methods(written(tmp_path / "another.py"))
    assert [each.key for each in reading.identities(STUDY)] == keys


def test_recorded_cells_of_another_version_are_refused(file):
    add_methods(file)
    run(STUDY, "store")
    assert len(reading.recorded(STUDY, "store")) == 2
    add_methods(written(file, "-1.0"))
    with pytest.raises(ValueError, match="must hold cells of today's file of methods"):
        reading.recorded(STUDY, "store")


@pytest.mark.parametrize("scheduler", ["here", "processes:1", "dask"])
def test_from_the_command_line_in_every_kind_of_worker(file, capsys, scheduler):
    name = f"own_{scheduler[:4]}.py"  # modules of one name are one
    Path(name).write_text(OWN)
    if scheduler == "dask":
        pytest.importorskip("distributed")
    assert main(["run", name, "--methods", "mine.py", "--scheduler", scheduler]) == 0
    assert "own: 2 done" in capsys.readouterr().out
    assert main(["table", name, "--methods", "mine.py"]) == 0 and "| my_method |" in capsys.readouterr().out


def test_a_worker_with_another_version_refuses(file):
    add_methods(file)
    told, *_ = reading.identities(STUDY)
    written(file, "-1.0")
    with pytest.raises(RuntimeError, match="must have the methods of the process that sends it cells"):
        run_cell("mine", ask, told, Store("store"), [str(file)])
    file.unlink()
    with pytest.raises(ValueError, match="must be a Python file"):
        run_cell("mine", ask, told, Store("store"), [str(file)])
    assert not Path("store").exists()


def test_a_study_that_names_none_asks_them_wherever_it_asks_random_dropping(file):
    add_methods(file)
    axes = {"average": [72, 48], "layers": [[3], [6]]}
    study = Study("s", ask, grid(subject=["embedded"], method=["v2drop", "random"], **axes))
    more = asking_also(study, ["my_method"])
    added = [cell for cell in more.cells if cell["method"] == "my_method"]
    assert len(added) == 4 and more.cells[:8] == study.cells
    assert [cell | {"method": "random"} for cell in added] == [c for c in study.cells if c["method"] == "random"]
    assert asking_also(more, ["my_method"]) is more and asking_also(study, []) is study
    composed = Study("c", ask, [CELLS[1], CELLS[1] | {"method": {"3": "my_method", "6": "random"}}])
    assert asking_also(composed, ["my_method"]) is composed
    with pytest.raises(ValueError, match="'powers' must ask 'my_method', or 'random', whose place they take"):
        asking_also(POWERS, ["my_method"])


def test_one_that_drops_before_the_language_model_is_asked_once_an_average(file):
    early = "\n\nclass Early(BeforeLLM):\n    released_schedule = Schedule({0: 0.5})\n    score = MyMethod.score\n"
    add_methods(written(file, more=early))
    cells = grid(subject=["embedded"], method=["random"], average=[72, 48], layers=[[3], [6]])
    study = Study("s", ask, [*cells, {"subject": "embedded", "method": "random", "left": {"3": 72}}])
    added = [cell for cell in asking_also(study, ["early"]).cells if cell["method"] == "early"]
    assert added == [{"subject": "embedded", "method": "early", "average": average} for average in (72, 48)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "must be a Python file (.py) that exists; got 'mine.py'"),
        ("x = 1\n", "must define a subclass of v2drop.Method"),
        ("1 / 0\n", "it raised ZeroDivisionError in line 1"),
        ("from v2drop import Random as R\n\nclass Random(R):\n    pass\n", "'random' is taken"),
    ],
)
def test_what_is_wrong_with_the_file_ends_with_status_two(file, capsys, text, message):
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(SystemExit) as ended:
        main(["run", "layers", "--methods", "mine.py"])
    assert ended.value.code == 2 and message in capsys.readouterr().err
