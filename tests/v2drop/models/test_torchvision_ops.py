"""A torchvision that does not fit torch is mended when it is needed, and only then."""

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path

import pytest
import torch

from analysis import load
from analysis.models import loading
from v2drop.models import torchvision_ops

TOP = Path(__file__).parents[3]
FIRST = "from . import early, part\n"
EARLY = "import torchvision\ntorchvision.marked = True\n"  # gets through the first time
# What the real one does when its compiled part does not load.
PART = """import torch
for name in {names}:
    torch.library.register_fake("torchvision::" + name)(lambda dets, scores, iou_threshold: dets)
"""
ASK = """
import sys
import sysconfig
try:
    import torchvision
except RuntimeError as error:
    print(error)
import analysis
print([name for name in sys.modules if name == "torchvision"])
from v2drop.models.torchvision_ops import usable
names = usable()
import torchvision
print(torchvision.part.__name__, torchvision.marked, names is usable(), names is not None)
"""


UNWATCHED = """
import sys
sys.meta_path[:] = [each for each in sys.meta_path if getattr(each, "__name__", "") != "BeforeTorchvision"]
"""  # as in an environment that `make` did not mend
WATCHED = (
    UNWATCHED
    + """
from v2drop.models.torchvision_ops import watch
watch()
"""
)


def asked(folder, names, before=UNWATCHED):
    """What happens beside a torchvision without a compiled part."""
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(FIRST)
    (folder / "torchvision" / "early.py").write_text(EARLY)
    (folder / "torchvision" / "part.py").write_text(PART.format(names=names))
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(TOP)])}
    ask = [sys.executable, "-c", before + ASK]
    return subprocess.run(ask, capture_output=True, text=True, env=env, cwd=folder, check=False)


def test_missing_operators_get_their_names(tmp_path):
    done = asked(tmp_path, ["nms", "qnms"])
    assert done.stdout.splitlines() == [
        "operator torchvision::nms does not exist",
        "[]",  # importing analysis has mended nothing
        "torchvision.part True True True",
    ], done.stderr


@pytest.mark.parametrize("before", [UNWATCHED, WATCHED], ids=["unwatched", "watched"])
def test_one_that_lacks_more_is_reported(tmp_path, before):
    done = asked(tmp_path, ["nms", "other"], before)
    assert done.stderr.splitlines()[-1].startswith("ImportError: torchvision was built for another torch")


def test_without_torchvision_nothing_happens(monkeypatch):
    monkeypatch.setattr(torchvision_ops, "find_spec", lambda name: None)
    monkeypatch.setattr(torchvision_ops, "_imports", lambda: pytest.fail("imported"))
    assert torchvision_ops.usable.__wrapped__() is None


@pytest.mark.parametrize("message", [None, "libpng is too old"])
def test_one_that_fits_is_left_alone_and_other_faults_are_reported(monkeypatch, message):
    def imported(name):
        if message:
            raise RuntimeError(message)

    monkeypatch.setattr(torchvision_ops, "find_spec", lambda name: ModuleSpec(name, None))
    monkeypatch.setattr(torchvision_ops.importlib, "import_module", imported)
    if message is None:
        assert torchvision_ops.usable.__wrapped__() is None
        return
    with pytest.raises(ImportError, match=f"cannot be imported: {message}"):
        torchvision_ops.usable.__wrapped__()


def test_torchvision_is_mended_first_and_the_model_is_ready_to_be_asked(monkeypatch):
    mended = []
    monkeypatch.setattr(loading, "usable", lambda: mended.append(True))
    model = load(loading.EMBEDDED).model
    assert mended and not model.training and not any(p.requires_grad for p in model.parameters())


def fresh(folder, *paths):
    """The Python of a new environment that finds what is installed here, and first what is in some folders."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    shared = sysconfig.get_path("purelib")
    (packages / "here.pth").write_text("".join(f"{path}\n" for path in [*paths, TOP, shared]))
    return folder / "bin" / "python", packages


def said(python, *arguments):
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([python, *arguments], cwd=python.parent, capture_output=True, text=True, env=env)
    return done.returncode, done.stdout.strip(), done.stderr


SEES = "import sys, torchvision; print(torchvision.marked, any('v2drop' == name for name in sys.modules))"


def test_where_it_is_installed_every_program_imports_torchvision(tmp_path):
    asked(tmp_path, ["nms", "qnms"])  # writes the package
    python, packages = fresh(tmp_path / "venv", tmp_path)
    assert "operator torchvision::nms does not exist" in said(python, "-c", SEES)[2]
    code, out, err = said(python, "-m", "v2drop.models.torchvision_ops")
    assert code == 0 and out.endswith("v2drop_torchvision_ops.pth"), err
    assert said(python, "-c", SEES) == (0, "True False", "")
    start = "import sys; print(sorted({'torch', 'v2drop', 'torchvision'} & {*sys.modules}))"
    assert said(python, "-c", start)[:2] == (0, "[]")  # a start costs nothing
    assert said(python, "-m", "v2drop.models.torchvision_ops")[0] == 0 and said(python, "-c", SEES)[1] == "True False"
    shutil.rmtree(tmp_path / "torchvision")
    code, out, err = said(python, "-c", "import torchvision, torch; print(torchvision.__name__)")
    assert code == 0 and out == "torchvision" or "No module named 'torchvision'" in err  # that of the tests, or none


def test_one_that_fits_gets_nothing(tmp_path):
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("marked = True\n")
    python, packages = fresh(tmp_path / "venv", tmp_path)
    assert said(python, "-m", "v2drop.models.torchvision_ops")[:2] == (0, "")
    assert [path.name for path in packages.iterdir()] == ["here.pth"]


@pytest.mark.parametrize("loads", [True, False])
def test_operators_are_declared_at_the_import_and_only_if_the_compiled_part_does_not_load(tmp_path, monkeypatch, loads):
    """Asking for the package declares nothing."""
    done, finder = [], torchvision_ops.BeforeTorchvision

    def load(file):
        done.append(file)
        if not loads:
            raise OSError("undefined symbol")

    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("marked = True\n")
    (tmp_path / "torchvision" / "_C.so").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(torch.ops, "load_library", load)
    monkeypatch.setattr(torchvision_ops, "_declared", lambda: done.append("declared") or "names")
    monkeypatch.setattr(finder, "names", None)
    assert finder.find_spec("torchvision.ops") is None and finder.find_spec("torch") is None
    spec = finder.find_spec("torchvision")
    assert done == []
    for _ in range(2):  # a second time after a failure, say
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.marked
    part = str(tmp_path / "torchvision" / "_C.so")
    assert done == ([part, part] if loads else [part, "declared"])


def test_python_may_read_its_line_twice(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    torchvision_ops.watch()
    torchvision_ops.watch()
    assert sys.meta_path.count(torchvision_ops.BeforeTorchvision) == 1


def test_after_make_transformers_gives_its_classes_without_this_package(tmp_path):
    """With the torchvision that is installed here, whatever build it is."""
    if find_spec("torchvision") is None:
        pytest.skip("an extra that is not installed")
    python, packages = fresh(tmp_path / "venv")
    assert said(python, "-m", "v2drop.models.torchvision_ops")[0] == 0
    ask = "import sys; from transformers import LlavaForConditionalGeneration as L; print(L.__name__, *sys.modules)"
    code, out, err = said(python, "-W", "ignore", "-c", ask)
    name, *modules = out.split() or [""]
    assert code == 0 and name == "LlavaForConditionalGeneration", err
    assert "torchvision" in modules and "v2drop" not in modules
