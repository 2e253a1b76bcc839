"""A work-around for a torchvision that was built for another torch, enough for processors of pictures and videos."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from importlib.util import find_spec

import torch

# The operators for which torchvision registers shapes on import, but which only its compiled part defines.
SCHEMA = "{}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
OPERATORS = ("nms", "qnms")


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
    names = torch.library.Library("torchvision", "FRAGMENT")
    for operator in OPERATORS:
        names.define(SCHEMA.format(operator))
    if _imports():
        return names
    raise ImportError("torchvision was built for another torch; install the one that belongs to it, or none.")


def _imports() -> bool:
    """Whether `import torchvision` works; False if operators are missing."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" in str(error):
            return False
        raise ImportError(f"torchvision is installed but cannot be imported: {error}") from error
    return True
