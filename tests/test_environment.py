"""One list of dependencies, in pyproject.toml, to which all else defers; sound workflow and citation."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

TOP = Path(__file__).parent.parent
TEXT = (TOP / "pyproject.toml").read_text()
PROJECT = tomllib.loads(TEXT)["project"]
LINES = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
NEEDED = {extra: [Requirement(line) for line in lines] for extra, lines in LINES.items()}
PINNED = (TOP / "constraints.txt").read_text()
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", PINNED, re.MULTILINE))

CORE = [requirement for extra in ("", "processors", "big", "notebooks", "test") for requirement in NEEDED[extra]]
EACH = pytest.mark.parametrize("requirement", CORE, ids=lambda requirement: requirement.name)


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_conda_file_defers_to_pyproject():
    conda = yaml.safe_load((TOP / "environment.yml").read_text())["dependencies"]
    assert conda == [f"python{PROJECT['requires-python']}", "pip", {"pip": ["-e .[all]"]}]


def test_this_python_is_in_range():
    assert SpecifierSet(PROJECT["requires-python"]).contains(".".join(map(str, sys.version_info[:3])))


def test_all_is_everything_but_what_is_built_or_set_up_by_hand():
    (everything,) = NEEDED["all"]
    assert everything.name == PROJECT["name"]
    assert everything.extras == set(NEEDED) - {"", "all", "flash", "lmms"}


@pytest.mark.parametrize("line", [line for lines in LINES.values() for line in lines])
def test_every_dependency_has_its_reason(line):
    assert re.search(rf'^ *"{re.escape(line)}", +# \w.{{10,}}$', TEXT, re.MULTILINE)


@EACH
def test_has_a_lower_bound(requirement):
    assert {">=", "=="} & {clause.operator for clause in requirement.specifier}


@EACH
def test_pin_is_in_range(requirement):
    pins = {canonical(name): pin for name, pin in PINS.items()}
    assert requirement.specifier.contains(pins[canonical(requirement.name)])


@EACH
def test_installed_version_is_in_range(requirement):
    if requirement in NEEDED["processors"] and find_spec(requirement.name) is None:
        pytest.skip("an extra that is not installed")
    assert requirement.specifier.contains(version(requirement.name), prereleases=True)


def test_pins_suit_a_machine_with_and_without_cuda():
    assert len(PINS) == sum(not line.startswith("#") for line in PINNED.splitlines())
    assert PINS["torch"] == "2.13.0"
    assert not any("+" in pin for pin in PINS.values())
    assert not any(name.startswith(("nvidia", "cuda", "triton")) for name in PINS)


WORKFLOWS = sorted((TOP / ".github" / "workflows").glob("*.yml"))
WORKFLOW = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


@WORKFLOW
def test_workflow_follows_the_schema(path):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@WORKFLOW
def test_workflow_names_what_exists(path):
    jobs = yaml.safe_load(path.read_text())["jobs"]
    targets = re.findall(r"^(\w+):", (TOP / "Makefile").read_text(), re.MULTILINE)
    for job in jobs.values():
        commands = " ".join(step.get("run", "") for step in job["steps"])
        assert set(re.findall(r"\bmake (\w+)", commands)) <= set(targets)
        (axes, *_) = job.get("strategy", {"matrix": {"include": [{}]}})["matrix"]["include"]
        assert set(re.findall(r"\bmatrix\.(\w+)", str(job))) == set(axes)


def test_citation_follows_the_schema():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.citation-file-format"]
    done = subprocess.run([*command, TOP / "CITATION.cff"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_makefile_runs_modules_and_no_scripts():
    """A script in tests/ would find tests/analysis before the package."""
    assert not re.search(r"\$\(PY\) [^-]\S*\.py", (TOP / "Makefile").read_text())
