"""The house: every package is a room, imports go down only, no module imports itself by way of others."""

import ast
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
MOST_FILES = 14

# The order that counts: a room may import only rooms listed before it in its package, and any of v2drop's from
# analysis. Names are those of packages, or of single modules that stand outside a room.
ROOMS = {
    "v2drop": [
        "types",
        "arguments",
        "scoring",
        "budgets",
        "models",
        "guards",
        "sequence",
        "engine",
        "hooks",
        "methods.base",
        "methods.seeded",
        "methods.before_llm",
        "methods.in_llm",
        "methods.baselines",
        "methods",
        "export",
        "contract",
    ],
    "analysis": [
        "progress",
        "work_folders",
        "confirmation",
        "new_method",
        "statistics",
        "models.prompts",
        "models.checkpoints",
        "models",
        "scenes",
        "training",
        "residual_stream",
        "subjects",
        "theorem.statistics",
        "theorem",
        "group_impact",
        "criteria",
        "position",
        "comparison",
        "answers",
        "efficiency",
        "figures",
        "studies.cells",
        "studies",
        "studies.ablations",
        "lmms",
        "report",
    ],
}


def modules(top):
    """Module name -> its file, of both packages."""
    files = [file for package in ROOMS for file in sorted((top / package).rglob("*.py"))]
    names = [file.relative_to(top).with_suffix("").parts for file in files]
    return {
        ".".join(parts[:-1] if parts[-1] == "__init__" else parts): file
        for parts, file in zip(names, files, strict=True)
    }


def imports(file, known):
    """Modules of both packages that a file imports: at its top, late inside functions, and for typing alone."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: imports are absolute here"
            found |= {name if (name := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
    return {name for name in found if name in known}


def room(module):
    """Where a module stands: its package, and its room's place in the order; a package itself comes after all."""
    package, _, rest = module.partition(".")
    order = ROOMS[package]
    inside = [name for name in order if rest == name or rest.startswith(name + ".")]
    assert inside or not rest, f"{module} stands in no room of {order}; tests/test_rooms.py has the order"
    return package, order.index(max(inside, key=len)) if rest else len(order)


def upward(graph):
    """Imports of a room that comes later, and any of v2drop's of analysis."""
    wrong = []
    for module, targets in graph.items():
        for target in targets:
            (package, place), (other, its_place) = room(module), room(target)
            if (package == other and its_place > place) or (package, other) == ("v2drop", "analysis"):
                wrong.append(f"{module} -> {target}")
    return sorted(wrong)


def circles(graph):
    """Modules that can be reached from themselves."""

    def reached(start):
        seen, waiting = set(), [start]
        while waiting:
            for target in graph[waiting.pop()]:
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        return seen

    return sorted(module for module in graph if module in reached(module))


def too_full(top):
    """Folders of Python files with more of them than a reader takes in at a glance."""
    folders = [folder for package in ROOMS for folder in [top / package, *(top / package).rglob("*")]]
    counts = {str(folder.relative_to(top)): len(list(folder.glob("*.py"))) for folder in folders if folder.is_dir()}
    return {name: count for name, count in counts.items() if count > MOST_FILES}


def graph(top):
    known = modules(top)
    return {name: imports(file, known) for name, file in known.items()}


def test_imports_go_down_only():
    assert upward(graph(TOP)) == []


def test_no_module_imports_itself_by_way_of_others():
    assert circles(graph(TOP)) == []


def test_no_room_has_more_files_than_can_be_taken_in():
    assert too_full(TOP) == {}


def test_every_room_says_in_a_few_lines_what_it_is_for():
    for name, file in modules(TOP).items():
        if file.name == "__init__.py":
            lines = (ast.get_docstring(ast.parse(file.read_text())) or "").splitlines()
            assert 1 <= len(lines) <= 6, name


@pytest.fixture
def small(tmp_path):
    """A house of three modules, in order."""
    texts = {
        "v2drop/scoring/a.py": "import torch\n",
        "v2drop/engine/b.py": "from v2drop.scoring.a import x\n",
        "analysis/models/c.py": "from v2drop.engine import b\n",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "text", "wrong"),
    [
        ("v2drop/scoring/a.py", "from v2drop.engine.b import y\n", ["v2drop.scoring.a -> v2drop.engine.b"]),
        ("v2drop/scoring/a.py", "def f():\n    import v2drop.engine.b\n", ["v2drop.scoring.a -> v2drop.engine.b"]),
        (
            "v2drop/scoring/a.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from analysis.models.c import z\n",
            ["v2drop.scoring.a -> analysis.models.c"],
        ),
    ],
)
def test_an_upward_import_is_found_wherever_it_stands(small, file, text, wrong):
    assert upward(graph(small)) == [] and circles(graph(small)) == []
    (small / file).write_text(text)
    assert upward(graph(small)) == wrong and circles(graph(small)) != []


def test_a_circle_inside_a_room_and_a_full_room_are_found(small):
    (small / "v2drop/scoring/d.py").write_text("from v2drop.scoring import e\n")
    (small / "v2drop/scoring/e.py").write_text("from v2drop.scoring.d import x\n")
    assert upward(graph(small)) == [] and circles(graph(small)) == ["v2drop.scoring.d", "v2drop.scoring.e"]
    for number in range(MOST_FILES):
        (small / f"v2drop/engine/f{number}.py").touch()
    assert too_full(small) == {"v2drop/engine": MOST_FILES + 1}


def test_a_module_outside_every_room_is_refused(small):
    (small / "v2drop/utils.py").write_text("from v2drop.scoring import a\n")
    with pytest.raises(AssertionError, match="stands in no room"):
        upward(graph(small))
