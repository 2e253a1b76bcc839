"""Every code block of every README and of CONTRIBUTING runs as it is printed, in a fresh interpreter, in order."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.readme_blocks import FENCE, blocks, check_page, program

TOP = Path(__file__).parents[1]
PAGES = sorted(str(page.relative_to(TOP)) for page in [*TOP.glob("*.md"), *TOP.glob("[a-z]*/**/README.md")])
EVERY_PAGE = pytest.mark.parametrize("page", PAGES)
LANGUAGES = {"python", "sh", "text", "mermaid"}


def text_of(page):
    return (TOP / page).read_text()


def test_all_pages_are_found():
    assert {"README.md", "CONTRIBUTING.md", "v2drop/README.md", "analysis/README.md", "data/README.md"} <= set(PAGES)


@EVERY_PAGE
def test_a_block_names_its_language_and_is_not_indented(page):
    fences = re.findall(r"^ *```.*$", text_of(page), re.M)
    assert len(fences) == 2 * len(FENCE.findall(text_of(page)))
    assert {language for language, _ in blocks(text_of(page))} <= LANGUAGES


@pytest.mark.parametrize("page", [page for page in PAGES if program(text_of(page))])
def test_python_runs_as_printed_and_prints_what_is_said(page):
    check_page(text_of(page), TOP)


@EVERY_PAGE
def test_commands_are_there(page):
    targets = re.findall(r"^([a-z]+):", (TOP / "Makefile").read_text(), re.M)
    for language, text in blocks(text_of(page)):
        for line in text.splitlines() if language == "sh" else ():
            command = line.split("#")[0]
            for target in re.findall(r"\bmake ([a-z]+)", command):
                assert target in targets, line
            for module in re.findall(r"python -m ([\w.]+)", command):
                assert find_spec(module), line
            for path in re.findall(r"(?<![\w./<-])((?:tests|data|notebooks|v2drop|analysis)/[\w./]+)", command):
                assert (TOP / path).exists(), line


@EVERY_PAGE
def test_links_lead_somewhere(page):
    for link in set(re.findall(r"\]\((?!http)([^)#]+)\)", text_of(page))):
        assert ((TOP / page).parent / link).exists(), link


def test_the_front_page_is_short():
    assert len(text_of("README.md").splitlines()) <= 200
