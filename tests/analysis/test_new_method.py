"""`python -m analysis.new_method`: what it writes passes its own test and the linter at once, anywhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.new_method import main
from tests.support.own_methods import nothing_added  # noqa: F401 - a fixture
from v2drop import METHODS
from v2drop.methods.from_file import add_methods

TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere") / "deeper"
    assert main(["keep_the_longest", "--folder", str(folder)]) == 0
    return folder


def run(folder, *command):
    env = os.environ | {"PYTHONPATH": str(TOP)}
    return subprocess.run([sys.executable, "-m", *command], cwd=folder, env=env, capture_output=True, text=True)


def test_its_test_passes_at_once_and_runs_the_contract(written):
    done = run(written, "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "-rA", ".")
    assert done.returncode == 0, done.stdout
    assert "test_contract[dropping is masking, llava, sdpa]" in done.stdout and "36 passed" in done.stdout
    assert sorted(path.name for path in written.glob("*.*")) == ["keep_the_longest.py", "test_keep_the_longest.py"]


def test_its_test_fails_where_the_method_breaks_the_contract(written, tmp_path):
    for file in written.glob("*.py"):
        (tmp_path / file.name).write_text(file.read_text().replace("norm(dim=-1)", "norm(dim=(0, 2))[None]"))
    done = run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", ".")
    assert done.returncode == 1 and "a batch equals its rows alone, llama" in done.stdout


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
@pytest.mark.parametrize("name", ["keep_the_longest", "x1", "a_name_of_fifty_letters_that_is_far_longer_than_any_is"])
def test_what_it_writes_passes_the_linter(tmp_path, name, command):
    main([name, "--folder", str(tmp_path)])
    done = run(tmp_path, "ruff", *command, "--no-cache", "--config", str(TOP / "pyproject.toml"), ".")
    assert done.returncode == 0, done.stdout


def test_the_method_can_be_added_by_its_name(written, nothing_added):  # noqa: F811
    assert add_methods(written / "keep_the_longest.py") == ["keep_the_longest"] and "keep_the_longest" in METHODS


@pytest.mark.parametrize("name", ["", "MyName", "my name", "a_b", "class", "2nd", "../name", "my__name", "_name"])
def test_what_is_no_name_is_refused(tmp_path, capsys, name):
    with pytest.raises(SystemExit) as ended:
        main([name, "--folder", str(tmp_path)])
    assert ended.value.code == 2 and "name must be words" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_and_files_that_are_there_are_refused(written, tmp_path, capsys):
    before = {path: path.read_bytes() for path in written.glob("*.py")}
    for arguments, message in (
        (["random", "--folder", str(tmp_path)], "name must be that of no other method"),
        (["keep_the_longest", "--folder", str(written)], "no file that would be overwritten"),
        (["another", "--folder", str(written / "keep_the_longest.py")], "folder that can be written to"),
    ):
        with pytest.raises(SystemExit):
            main(arguments)
        assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in written.glob("*.py")} == before
