"""A method in a file of one's own is one of METHODS for a process, by what the file holds now."""

import hashlib
import os

import pytest
import torch

from tests.support.own_methods import nothing_added, written  # noqa: F401 - a fixture
from v2drop import METHODS, Schedule
from v2drop.contract import candidates_of
from v2drop.methods.from_file import add_methods, added_files, added_methods, method_name, names_in, read_methods

pytestmark = pytest.mark.usefixtures("nothing_added")
CANDIDATES = candidates_of(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]))


def score():
    return METHODS["my_method"](Schedule({2: 1})).score(CANDIDATES).tolist()


def test_its_methods_are_there_by_the_names_of_their_classes(tmp_path):
    file = written(
        tmp_path / "mine.py", more="\nclass _Base(MyMethod):\n    pass\n\nclass DARTPlus(_Base):\n    pass\n"
    )
    assert add_methods(file) == ["my_method", "dart_plus"]
    assert score() == [[5.0, 1.0]] and list(METHODS)[-2:] == ["my_method", "dart_plus"]
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    assert added_methods() == {"my_method": checksum, "dart_plus": checksum} and added_files() == [str(file)]
    assert METHODS["my_method"].for_average(72, 144, 12).schedule.layers == (1, 6)


def test_reading_enters_nothing(tmp_path):
    assert list(read_methods(written(tmp_path / "mine.py")).methods) == ["my_method"]
    assert "my_method" not in METHODS and added_methods() == {}


def test_added_twice_it_is_there_once_and_a_changed_file_takes_its_place(tmp_path):
    """In the same second and of the same length, which is what a bytecode cache goes by."""
    file = written(tmp_path / "mine.py", "+1.0")
    add_methods(file)
    first, time = METHODS["my_method"], file.stat()
    assert add_methods(str(file)) == ["my_method"] and METHODS["my_method"] is first
    before = added_methods()
    written(file, "-1.0")
    os.utime(file, ns=(time.st_atime_ns, time.st_mtime_ns))
    assert score() == [[5.0, 1.0]]
    add_methods(file)
    assert score() == [[-5.0, -1.0]] and added_methods() != before


def test_a_method_that_left_the_file_leaves(tmp_path):
    file = written(tmp_path / "mine.py")
    add_methods(file)
    file.write_text(file.read_text().replace("MyMethod", "Another"))
    assert add_methods(file) == ["another"] and "my_method" not in METHODS


def test_a_changed_file_that_is_refused_changes_nothing(tmp_path):
    file = written(tmp_path / "mine.py")
    add_methods(file)
    for broken in ("1 / 0\n", file.read_text().replace("MyMethod", "Random")):
        file.write_text(broken)
        with pytest.raises(ValueError):
            add_methods(file)
        assert score() == [[5.0, 1.0]] and METHODS["random"].__module__.startswith("v2drop.")


def test_it_may_be_called_as_another_module_and_import_a_file_beside_it(tmp_path):
    (tmp_path / "beside_it.py").write_text("X = 1\n")
    add_methods(written(tmp_path / "json.py", more="\nfrom beside_it import X\n"))
    import json

    assert score() == [[5.0, 1.0]] and json.dumps(1) == "1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "must define a subclass of v2drop.Method .* it has none"),
        ("from v2drop import Random\n", "it has none"),
        ("1 / 0\n", "must run as Python; it raised ZeroDivisionError in line 1: division by zero"),
        ("\n\ndef (:\n", "must run as Python; it raised SyntaxError"),
        ("raise SystemExit(3)\n", "it raised SystemExit in line 1: 3"),
        ("import no_such_package\n", "it raised ModuleNotFoundError in line 1: No module named"),
        ("from v2drop import Method\n\nclass Mine(Method):\n    pass\n", "it has none"),
        (
            "from v2drop import Method\n\nclass Mine(Method):\n    def score(self, candidates): ...\n",
            "it has Mine without released_schedule",
        ),
        (
            "from v2drop import Random as R\n\nclass Random(R):\n    pass\n",
            "must name its classes as no other method; 'random' is taken",
        ),
    ],
)
def test_what_is_no_file_of_methods_is_refused(tmp_path, text, message):
    file, known = tmp_path / "mine.py", dict(METHODS)
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        add_methods(file)
    assert dict(METHODS) == known and added_methods() == {}


@pytest.mark.parametrize("path", ["nowhere.py", "", "mine.txt", ".", 3, None])
def test_what_is_no_file_is_refused(tmp_path, monkeypatch, without_type_checker, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match="must be a Python file .* that exists; got"):
        add_methods(path)


def test_a_name_of_two_files_is_taken(tmp_path):
    add_methods(written(tmp_path / "one.py"))
    with pytest.raises(ValueError, match="'my_method' is taken"):
        add_methods(written(tmp_path / "two.py"))


def test_names_of_classes_and_in_data():
    assert [method_name(name) for name in ("ToMe", "V2Drop", "Random")] == ["to_me", "v2_drop", "random"]
    data = {"method": {"1": "mine", "6": "random"}, "more": [["other"], 3, None]}
    assert names_in(data, ["mine", "other", "third"]) == {"mine", "other"} and names_in("mine", ["m"]) == set()
