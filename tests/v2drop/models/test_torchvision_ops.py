"""A torchvision that does not fit torch is mended when it is needed, and only then."""

import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

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


def asked(folder, names):
    """What happens beside a torchvision without a compiled part."""
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(FIRST)
    (folder / "torchvision" / "early.py").write_text(EARLY)
    (folder / "torchvision" / "part.py").write_text(PART.format(names=names))
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(TOP)])}
    return subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, env=env, cwd=folder, check=False)


def test_missing_operators_get_their_names(tmp_path):
    done = asked(tmp_path, ["nms", "qnms"])
    assert done.stdout.splitlines() == [
        "operator torchvision::nms does not exist",
        "[]",  # importing analysis has mended nothing
        "torchvision.part True True True",
    ], done.stderr


def test_one_that_lacks_more_is_reported(tmp_path):
    done = asked(tmp_path, ["nms", "other"])
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
