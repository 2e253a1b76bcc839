"""What a cell's numbers are determined by, and the name of its file, which is a hash of that."""

from __future__ import annotations

import hashlib
import inspect
import platform
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch

from analysis.studies.cells.models import model_checksum
from analysis.studies.cells.study import Arguments, as_text, resolved
from v2drop.methods.from_file import added_methods, names_in

TOP = Path(__file__).resolve().parents[3]
# What does not compute: it shows what was computed, checks methods, or lists arguments of cells, which count anyway.
NOT_COMPUTING = ("analysis/figures", "analysis/report", "analysis/studies/ablations", "v2drop/contract")
COMPUTES = ("torch", "transformers", "numpy", "scipy", "pandas", "scikit-learn", "scikit-image", "pillow")


class Identity(NamedTuple):
    """Everything that determines the rows of a cell, but for what a function from elsewhere imports from files there.

    Attributes:
        function: The function of the cell, as "module:name".
        source: SHA-256 of the function's module, or of its own text in a notebook; "" for a function of the packages.
        passed: The arguments that the study gives it.
        defaulted: The arguments that it takes from its signature.
        code: SHA-256 of the code of both packages by content.
        model: What tells the checkpoint of the argument `subject` from any other; "" without such an argument.
        versions: Of Python and of the packages that compute, by name.
        device: "cuda" where there is a GPU, which models are loaded on, in their own dtype; else "cpu", in float32.
        methods: The methods from files of one's own (`add_methods`) that the cell can reach, name -> SHA-256 of the
            file; not what such a file imports. A function of the packages reaches those that its arguments name, any
            other function all of them.
    """

    function: str
    source: str
    passed: Arguments
    defaulted: Arguments
    code: str
    model: str
    versions: dict[str, str]
    device: str = "cpu"
    methods: dict[str, str] = {}

    @property
    def key(self) -> str:
        """The name of the cell's file: 32 hexadecimal digits. An argument counts the same, given or left to default."""
        arguments = self.passed | self.defaulted
        told = self._replace(passed=arguments, defaulted={})
        return hashlib.sha256(as_text(told._asdict()).encode()).hexdigest()[:32]

    def check_here(self) -> None:
        """Make sure that a process which was sent the cell would compute what its sender would.

        Raises:
            RuntimeError: The process has other code, versions or methods, or another checkpoint.
        """
        subject = (self.passed | self.defaulted).get("subject")
        here = {"code": package_code(), "model": _model(subject), "versions": versions(), "device": _device()}
        here["methods"] = _methods(self.source, self.passed | self.defaulted)
        other = [name for name, value in here.items() if getattr(self, name) != value]
        if other:
            said = "; ".join(f"{name} {here[name]}, not {getattr(self, name)}" for name in other)
            raise RuntimeError(
                f"a worker must have the {', '.join(other)} of the process that sends it cells; it has {said}."
            )


def identity(cell: Callable, arguments: Mapping[str, Any]) -> Identity:
    """What determines the rows of a cell here and now.

    Raises:
        ValueError: The function does not take the arguments, or there is no such model.
    """
    whole, source = resolved(cell, arguments), _source(cell)
    return Identity(
        function_name(cell),
        source,
        {name: whole[name] for name in arguments},
        {name: value for name, value in whole.items() if name not in arguments},
        package_code(),
        _model(whole.get("subject")),
        versions(),
        _device(),
        _methods(source, whole),
    )


def function_name(cell: Callable) -> str:
    """A function as "module:name"; the main script has one name in all processes."""
    return f"{cell.__module__.replace('__mp_main__', '__main__')}:{cell.__qualname__}"


@cache
def package_code() -> str:
    """SHA-256 of the code of `v2drop` and `analysis`, but for the rooms that do not compute."""
    files = [path for package in ("v2drop", "analysis") for path in (TOP / package).rglob("*.py")]
    aside = [TOP / room for room in NOT_COMPUTING]
    digest = hashlib.sha256()
    for path in sorted(path for path in files if not any(path.is_relative_to(room) for room in aside)):
        digest.update(f"{path.relative_to(TOP).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


@cache
def versions() -> dict[str, str]:
    """The versions of Python and of the packages that compute, those that are installed."""
    found = {"python": platform.python_version()}
    for name in COMPUTES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _model(subject: Any) -> str:
    return "" if subject is None else model_checksum(str(subject))


def _methods(source: str, arguments: Arguments) -> dict[str, str]:
    added = added_methods()
    reached = added if source else names_in(arguments, added)
    return {name: added[name] for name in sorted(reached)}


def _source(cell: Callable) -> str:
    cell = inspect.unwrap(cell)  # not the file of a decorator
    file = Path(inspect.getsourcefile(cell) or "")
    if file.is_relative_to(TOP / "analysis") or file.is_relative_to(TOP / "v2drop"):
        return ""
    return hashlib.sha256(file.read_bytes() if file.is_file() else inspect.getsource(cell).encode()).hexdigest()
