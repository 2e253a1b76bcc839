"""`python -m analysis.studies`: a study of one's own, its status, table and figure, and what is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from analysis.studies.__main__ import main
from analysis.studies.finding import changed, known_studies, study_of

OWN = """
import pandas as pd
from analysis.studies import Study, grid

def cell(subject, method, average, first=0, n=20):
    if method == "broken" and n > 5:
        raise ArithmeticError("no answer")
    rows = {"question": range(first, first + n), "draw": 0, "right": [method == "good"] * n}
    return pd.DataFrame(rows | {"log_probability": -1.0})

STUDY = Study("own", cell, grid(subject=["embedded"], method=["good", "bad", METHOD], average=[1 / 2, 1 / 3],
                                first=[0, 20], n=[20]), columns=["average"], caption="Mine.")
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own.py").write_text(OWN.replace("METHOD", '"ugly"'))
    yield "own.py"
    for name in ("own", "empty"):
        sys.modules.pop(name, None)


def test_run_status_table_and_figure(own, tmp_path, capsys):
    assert main(["status", own]) == 1 and "0 done, 0 failed, 12 missing" in capsys.readouterr().out
    assert main(["run", own]) == 0
    assert capsys.readouterr().out.startswith("own: 12 done, 0 failed, 0 missing")
    assert main(["table", own]) == 0
    out = capsys.readouterr().out
    assert out.startswith("| embedded | 0.5 | 0.333 |") and "| good | **1.000**" in out
    assert "Mine. 12 cells" in out and "torch 2" in out
    assert main(["table", own, "--latex"]) == 0 and r"\label{tab:own}" in capsys.readouterr().out
    assert main(["table", own, "--csv"]) == 0 and capsys.readouterr().out.startswith("table,row,column,mean")
    assert main(["figure", own]) == 0
    assert (tmp_path / "reports/own.pdf").stat().st_size > 5000 and (tmp_path / "reports/own.png").stat().st_size > 5000


def test_failed_cells_are_told_and_retried_with_less(own, capsys):
    Path(own).write_text(OWN.replace("METHOD", '"broken"'))
    assert main(["run", own]) == 1
    out, err = capsys.readouterr()
    assert "8 done, 4 failed, 0 missing" in out and "ArithmeticError: no answer" in out and "4 of 12 cells" in err
    assert main(["run", own, "--limit", "5"]) == 0
    assert "6 done, 0 failed" in capsys.readouterr().out


def test_a_study_whose_cells_all_fail_ends_with_status_one(own, capsys):
    Path(own).write_text(OWN.replace("METHOD", '"ugly"').replace("n > 5", "True").replace('method == "broken"', "True"))
    assert main(["run", own]) == 1
    out, err = capsys.readouterr()
    assert "0 done, 12 failed" in out and "12 of 12 cells" in err


def test_a_table_of_some_cells_says_so(own, capsys):
    Path(own).write_text(OWN.replace("METHOD", '"broken"'))
    main(["run", own])
    capsys.readouterr()
    assert main(["table", own]) == 1
    out, err = capsys.readouterr()
    assert "Mine. 8 of 12 cells" in out and "of 12 cells 8 are finished" in err


def test_what_was_recorded_by_other_code_is_read_where_one_says_so(own, capsys, monkeypatch):
    assert main(["run", own, "--store", "kept"]) == 0
    monkeypatch.setattr("analysis.studies.cells.identity.package_code", lambda: "other code")
    with pytest.raises(SystemExit):
        main(["table", own, "--store", "kept"])
    capsys.readouterr()
    assert main(["table", own, "--store", "kept", "--recorded"]) == 0
    assert "| good | **1.000**" in capsys.readouterr().out
    assert main(["figure", own, "--store", "kept", "--recorded"]) == 0
    with pytest.raises(SystemExit):
        main(["table", own, "--store", "elsewhere", "--recorded"])
    assert "must hold all 12 cells" in capsys.readouterr().err


def test_another_store_and_processes(own, capsys):
    assert main(["run", own, "--store", "elsewhere", "--scheduler", "processes:1"]) == 0
    assert len(list(Path("elsewhere").iterdir())) == 12
    assert main(["status", own]) == 1


def test_a_model_of_ones_own(own):
    study = changed(study_of(own), model="some/folder", limit=30)
    assert {cell["subject"] for cell in study.cells} == {"some/folder"}
    assert sorted({(cell["first"], cell["n"]) for cell in study.cells}) == [(0, 20), (20, 10)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere"], "study must be one of"),
        (["run", "own.py", "--limit", "0"], "--limit must be"),
        (["run", "own.py", "--scheduler", "moon"], "scheduler must be"),
        (["run", "own.py", "--model", "no/such/folder"], "subject must be"),
        (["run", "empty.py"], "must hold a Study named STUDY"),
        (["run", "json.py"], "whose name no other module has"),
        (["table", "own.py"], "it holds none"),
        (["table", "own.py", "--csv", "--latex"], "not allowed with"),
        (["draw", "own.py"], "invalid choice"),
        ([], "required"),
    ],
)
def test_wrong_arguments_end_with_status_two(own, capsys, arguments, message):
    Path("empty.py").write_text("")
    Path("json.py").write_text("")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_ctrl_c_ends_with_status_130_and_goes_on_later(own, monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("analysis.studies.__main__.run_missing", stopped)
    assert main(["run", own]) == 130 and "the same command goes on" in capsys.readouterr().err


def test_help_names_the_studies():
    said = subprocess.run(
        [sys.executable, "-m", "analysis.studies", "run", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert all(name in said for name in known_studies()) and "--scheduler" in said


@pytest.mark.parametrize("name", known_studies())
def test_every_study_has_a_name_a_caption_and_cells_of_known_methods(name):
    study = study_of(name)
    assert study.name == name and study.caption
    assert (
        len(
            Path(f"{Path(sys.modules[study_of.__module__].__file__).parent}/ablations/{name}.py")
            .read_text()
            .split("\n")
        )
        <= 41
    )
