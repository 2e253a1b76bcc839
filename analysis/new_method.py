"""Writes a method to start from, and its test: `python -m analysis.new_method my_name [--folder FOLDER]`.

`my_name.py` holds the class `MyName`, which works as it is; `test_my_name.py` runs the contract of every method on it.
"""

from __future__ import annotations

import argparse
import keyword
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.work_folders import check_writable, written_whole
from v2drop import METHODS
from v2drop.methods.from_file import method_name

METHOD = '''"""{title}: keep the tokens whose hidden states are longest.

Say here what yours keeps, and where it is published.
"""

from dataclasses import dataclass
from typing import ClassVar

from v2drop.methods.base import Candidates, Method, Schedule, Scores


@dataclass(frozen=True)
class {title}(Method):
    r"""At layer l, token i scores :math:`\\lVert x_i^l \\rVert_2`. Write the formula of yours here."""

    # Drop layers and shares left for LLaVA-1.5-7B (32 layers); other models get the same depths.
    released_schedule: ClassVar[Schedule] = Schedule({{3: 0.5, 17: 0.25}}, label="as published")

    def score(self, candidates: Candidates) -> Scores:
        """Higher is kept."""
        return candidates.hidden.float().norm(dim=-1)
'''

TEST = '''"""{title}: what every method promises, and a score worked out by hand."""

from pathlib import Path

import pytest
import torch

from v2drop import Schedule
from v2drop.contract import candidates_of, contract_of
from v2drop.methods.from_file import read_methods

FILE = read_methods(Path(__file__).with_name("{name}.py"))
METHOD = FILE.methods["{name}"]


@pytest.mark.parametrize("promise", contract_of(METHOD), ids=str)
def test_contract(promise):
    """Dropping is masking, a batch equals its rows, as many are left as the schedule says, and more."""
    promise.check()


def test_scores_two_tokens_as_worked_out_by_hand():
    """The contract cannot know the formula."""
    candidates = candidates_of(torch.tensor([[[3.0, 4.0], [0.0, 1.0]]]), previous=torch.zeros(1, 2, 2))
    scores = METHOD(Schedule({{2: 1}})).score(candidates)
    torch.testing.assert_close(scores, torch.tensor([[5.0, 1.0]]))
'''


def write_method(name: str, folder: Path) -> list[Path]:
    """Write a method and its test.

    Args:
        name: The name of the method in `v2drop.METHODS` and of its file, as "my_name"; its class is then `MyName`.
        folder: The folder of both files, made if it is not there.

    Returns:
        The paths of both.

    Raises:
        ValueError: The name is none, or is taken by a method; a file of that name is there; or the folder cannot be
            written to.
    """
    title = "".join(word.capitalize() for word in str(name).split("_"))
    if not re.fullmatch(r"[a-z][a-z0-9_]*", str(name)) or keyword.iskeyword(name) or method_name(title) != name:
        raise ValueError(
            "name must be words of small letters and digits with '_' between them, each of two letters or more, and no "
            f"word of Python; got {name!r}."
        )
    if name in METHODS:
        raise ValueError(f"name must be that of no other method; got {name!r}. There are: {', '.join(METHODS)}.")
    check_writable("--folder", folder)
    paths = [folder / f"{name}.py", folder / f"test_{name}.py"]
    if there := [str(path) for path in paths if path.exists()]:
        raise ValueError(f"--folder must hold no file that would be overwritten; it holds {', '.join(there)}.")
    for path, text in zip(paths, (METHOD, TEST), strict=True):
        with written_whole(path) as draft:
            draft.write_text(text.format(title=title, name=name), encoding="utf-8")
    return paths


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both files, and say what to do with them. Wrong arguments end the program with status 2."""
    parser = argparse.ArgumentParser(prog="python -m analysis.new_method", description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the method and of its file: small letters, digits and '_'")
    parser.add_argument("--folder", type=Path, default=Path(), help="default: the current one")
    options = parser.parse_args(arguments)
    try:
        method, test = write_method(options.name, options.folder)
    except ValueError as error:
        parser.error(str(error))
    print(f"{method}\n{test}")
    print(f"python -m pytest {test}")
    print(f"python -m analysis.studies run layers --limit 20 --methods {method}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
