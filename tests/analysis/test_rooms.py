"""Rooms of analysis import downwards only, and no module is in a circle; imports for type checking count."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

TOP = Path(__file__).parents[2]
ROOMS = (  # each may import those before it
    "statistics",
    "models",
    "scenes",
    "residual_stream",
    "theorem",
    "criteria",
    "position",
    "comparison",
    "efficiency",
    "figures",
    "report",
)
IN_NO_ROOM = {"analysis.progress"}  # any may import these


def name_of(path):
    return ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__")


FILES = {".".join(path.relative_to(TOP).with_suffix("").parts) for path in (TOP / "analysis").rglob("*.py")}
MODULES = {name_of(path): path for path in (TOP / "analysis").rglob("*.py")}


def imported(path):
    """Modules of analysis that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "analysis":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "analysis")


def room_of(module):
    """The room of a module or of the room itself; None for what stands in no room."""
    part = (module.split(".") + [""])[1]
    return part if f"analysis.{part}.__init__" in FILES else None


def test_rooms_import_downwards_only():
    for module, path in MODULES.items():
        room = room_of(module)
        assert room is None or room in ROOMS, module
        for other in set(imported(path)) - IN_NO_ROOM if room else ():
            assert room_of(other) in ROOMS[: ROOMS.index(room) + 1], f"{module} imports {other}"


def test_no_module_is_in_a_circle():
    TopologicalSorter({module: set(imported(path)) for module, path in MODULES.items()}).prepare()


def test_v2drop_does_not_import_analysis():
    assert not any(list(imported(path)) for path in (TOP / "v2drop").rglob("*.py"))
