"""lmms-eval finds the model by the entry point of pyproject.toml, without loading it."""

import ast
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

from analysis.lmms.manifest import CLASS_PATH, MODEL_ID

TOP = Path(__file__).parents[3]


def test_the_entry_point_leads_to_the_manifest_and_the_manifest_to_a_class():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    ((name, path),) = project["entry-points"]["lmms_eval.models"].items()
    module, attribute = path.split(":")
    assert name == MODEL_ID and callable(getattr(import_module(module), attribute))
    module, _, attribute = CLASS_PATH.rpartition(".")
    tree = ast.parse((TOP / module.replace(".", "/")).with_suffix(".py").read_text())
    assert attribute in [node.name for node in tree.body if isinstance(node, ast.ClassDef)]


def test_looking_for_models_loads_nothing_heavy():
    code = "import sys, analysis.lmms.manifest; print(*{'torch', 'transformers', 'lmms_eval'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=TOP, check=True)
    assert done.stdout.split() == []
