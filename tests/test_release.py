"""A wheel holds both packages with their data and works without a checkout; versions come from tags."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from analysis.models.checkpoints.folders import data_folder, set_up_folder
from tests.support.readme_blocks import check_page

TOP = Path(__file__).parents[1]
CITED = yaml.safe_load((TOP / "CITATION.cff").read_text())["version"]
LARGEST = 40e6  # bytes; PyPI takes 100 MB
ASKED = """
import json, sys
import analysis, v2drop
from analysis import load_answers, load_group_impact, load_recorded, read_recorded, study_of
from analysis.models.checkpoints import folders, smollm2
from importlib.metadata import version

rows = [len(load_answers("methods")), len(load_group_impact())]
rows += [len(load_recorded()), len(read_recorded(study_of("surface")))]
print(json.dumps([analysis.__file__, v2drop.__file__, version("v2drop"), str(folders.SMOLLM2), rows]))
"""


def run(*command, cwd, **environment):
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": ""} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def git(folder, *command):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"]
    subprocess.run(["git", *who, *command], cwd=folder, check=True, capture_output=True)


def files_of_the_checkout():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=TOP, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no checkout of git")
    return [name for name in listed.stdout.splitlines() if (TOP / name).is_file()]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the files under version control, without git, and with what a set-up and an earlier build leave."""
    folder = tmp_path_factory.mktemp("release") / "checkout"
    for name in files_of_the_checkout():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / name, folder / name)
    (folder / "data" / "smollm2").mkdir()
    (folder / "data" / "smollm2" / "model.safetensors").write_bytes(bytes(1000))
    (folder / "build" / "lib" / "analysis" / "_data").mkdir(parents=True)
    (folder / "build" / "lib" / "analysis" / "_data" / "stale.csv").touch()
    return folder


@pytest.fixture(scope="module")
def versions(checkout):
    """The versions without git, without a tag, at a tag and behind it; the checkout stays at the tag."""
    found = [run("setuptools_scm", cwd=checkout).strip()]
    git(checkout, "init", "-q")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "all")
    found.append(run("setuptools_scm", cwd=checkout).strip())
    git(checkout, "tag", "v9.8.7")
    found.append(run("setuptools_scm", cwd=checkout).strip())
    git(checkout, "commit", "-q", "--allow-empty", "-m", "more")
    found.append(run("setuptools_scm", cwd=checkout).strip())
    git(checkout, "reset", "-q", "--hard", "v9.8.7")
    return found


@pytest.fixture(scope="module")
def wheel(checkout, versions):
    run("build", "--wheel", "--no-isolation", "--outdir", checkout.parent / "dist", cwd=checkout)
    (made,) = (checkout.parent / "dist").iterdir()
    return made


@pytest.fixture(scope="module")
def installed(wheel):
    """A folder with the wheel's packages alone; all they need is found where it is installed here."""
    folder = wheel.parents[1] / "site"
    run("pip", "install", "--quiet", "--no-deps", "--no-index", "--target", folder, wheel, cwd=wheel.parent)
    return folder


def test_versions_come_from_tags(versions):
    without_git, without_tag, tagged, behind = versions
    assert without_git == f"{CITED}.dev0"
    assert Version(without_git) < Version(without_tag) < Version(CITED) and "+g" in without_tag
    assert tagged == "9.8.7" and behind.startswith("9.8.8.dev1+g")


def test_the_citation_has_the_version_of_the_next_release_or_of_this_one():
    scm = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["setuptools_scm"]
    assert scm["fallback_version"] == f"{CITED}.dev0" and re.fullmatch(r"\d+\.\d+\.\d+", CITED)
    asked = subprocess.run(["git", "tag", "--list", "v*"], cwd=TOP, capture_output=True, text=True)
    tags = [tuple(map(int, tag[1:].split("."))) for tag in asked.stdout.split() if re.fullmatch(r"v\d+\.\d+\.\d+", tag)]
    assert max(tags, default=(0, 0, 0)) <= tuple(map(int, CITED.split(".")))


def test_the_wheel_holds_both_packages_and_the_data_and_nothing_else(wheel):
    assert wheel.name == "v2drop-9.8.7-py3-none-any.whl" and wheel.stat().st_size < LARGEST
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tracked = files_of_the_checkout()
    packages = {name for name in tracked if name.startswith(("v2drop/", "analysis/")) and name.endswith(".py")}
    data = {f"analysis/_{name}" for name in tracked if name.startswith("data/")}
    assert packages <= names and data <= names
    rest = names - packages - data
    assert {Path(name).name for name in rest} <= {"README.md"}, rest


def test_the_quick_start_works_in_an_empty_folder(installed, tmp_path):
    check_page((TOP / "README.md").read_text(), tmp_path, PYTHONPATH=str(installed))
    assert list(tmp_path.iterdir()) == []


def test_recorded_results_are_found_and_smollm2_goes_where_its_user_can_write(installed, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ASKED],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    analysis, v2drop, version, smollm2, rows = eval(done.stdout)
    assert Path(analysis).is_relative_to(installed) and Path(v2drop).is_relative_to(installed) and version == "9.8.7"
    assert smollm2 == str(tmp_path / "cache" / "v2drop" / "smollm2") and min(rows) > 100


def test_one_function_says_where_data_lie(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert data_folder(tmp_path) == set_up_folder(tmp_path) == tmp_path / "data"
    (tmp_path / "analysis" / "_data").mkdir(parents=True)
    assert data_folder(tmp_path) == tmp_path / "analysis" / "_data"
    assert set_up_folder(tmp_path) == tmp_path / "home" / ".cache" / "v2drop"
    assert data_folder(TOP) == TOP / "data"


def test_only_a_job_without_code_of_its_own_may_publish():
    workflow = yaml.safe_load((TOP / ".github" / "workflows" / "release.yml").read_text())
    jobs, told = workflow["jobs"], workflow[True]  # YAML's `on`
    assert set(told) == {"push"} and told["push"]["tags"] == ["v[0-9]+.[0-9]+.[0-9]+"]
    assert workflow["permissions"] == {"contents": "read"} and jobs["publish"]["needs"] == "build"
    assert [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})] == ["publish"]
    assert not any("run" in step or "password" in step.get("with", {}) for step in jobs["publish"]["steps"])
    uses = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", each) for each in uses)
