"""A work-around for a torchvision that was built for another torch, enough for processors of pictures and videos.

`python -m v2drop.models.torchvision_ops`, which `make` runs, has every program of the environment use it, by a copy of
this file, which therefore imports nothing of this package, and torch only when it is needed.
"""

from __future__ import annotations

import importlib
import os
import sys
import sysconfig
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# The operators for which torchvision registers shapes on import, but which only its compiled part defines.
SCHEMA = "{}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
OPERATORS = ("nms", "qnms")
COPY = "v2drop_torchvision_ops"  # this file, and the line that Python runs when it starts, where packages are installed


@cache
def usable() -> torch.library.Library | None:
    """Make `import torchvision` work, if torchvision is installed.

    PyPI's torchvision is linked to CUDA. Beside a torch without CUDA its compiled part does not load, the import fails
    ("operator torchvision::nms does not exist"), and with it transformers' import of any model or processor. Resizing
    and cropping need nothing of that part, so the missing operators are declared here without a body. Nothing is done
    if torchvision is not installed, or fits.

    Returns:
        The library that holds the declarations, which live as long as it does; None if none was needed.

    Raises:
        ImportError: torchvision cannot be imported for another reason.
    """
    if find_spec("torchvision") is None or _imports():
        return None
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # left half imported
    names = _declared()
    if _imports():
        return names
    raise ImportError("torchvision was built for another torch; install the one that belongs to it, or none.")


class BeforeTorchvision:
    """A finder of `sys.meta_path` that declares the operators before torchvision runs, if it lacks its compiled part.

    Asking whether there is a torchvision declares nothing, and does not import torch.
    """

    names: torch.library.Library | None = None

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """How torchvision is imported; None for all other modules."""
        spec = PathFinder.find_spec(name) if name == "torchvision" else None
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def declare_and_run(module: ModuleType) -> None:
            if cls.names is None and not any(map(_compiled_part_loads, module.__path__)):
                cls.names = _declared()
            run(module)

        spec.loader.exec_module = declare_and_run
        return spec


def watch() -> None:
    """Use `BeforeTorchvision` in this process; once, however often Python reads the line that calls this."""
    if BeforeTorchvision not in sys.meta_path:
        sys.meta_path.insert(0, BeforeTorchvision)


def install(folder: Path) -> Path:
    """Have every program of an environment `watch` when it starts.

    Args:
        folder: The folder of installed packages (site-packages).

    Returns:
        The file that says so; without it nothing is done.
    """
    line = f"import {COPY}; {COPY}.watch()\n"
    for path, text in ((folder / f"{COPY}.py", Path(__file__).read_text()), (folder / f"{COPY}.pth", line)):
        draft = path.with_suffix(".part")
        draft.write_text(text)
        os.replace(draft, path)
    return path


def main() -> int:
    """Install the work-around where it is needed, or bring it up to date; do nothing where torchvision fits."""
    folder = Path(sysconfig.get_path("purelib"))
    if usable() is not None or (folder / f"{COPY}.pth").exists():
        print(f"torchvision was built for another torch; what of it is missing is declared by {install(folder)}")
    return 0


def _declared() -> torch.library.Library:
    import torch

    names = torch.library.Library("torchvision", "FRAGMENT")
    for operator in OPERATORS:
        if not hasattr(torch.ops.torchvision, operator):  # `BeforeTorchvision` may have declared it already
            names.define(SCHEMA.format(operator))
    return names


def _compiled_part_loads(folder: str) -> bool:
    import torch

    for file in [path for path in Path(folder).glob("_C*") if path.suffix in (".so", ".pyd", ".dylib")]:
        try:
            torch.ops.load_library(str(file))  # torchvision does the same, and may do it again
            return True
        except (ImportError, OSError):
            continue
    return False


def _imports() -> bool:
    """Whether `import torchvision` works; False if operators are missing."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" in str(error):
            return False
        raise ImportError(f"torchvision is installed but cannot be imported: {error}") from error
    return True


if __name__ == "__main__":
    sys.exit(main())
