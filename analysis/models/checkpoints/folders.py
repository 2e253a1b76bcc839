"""Where the embedded models and recorded results lie, in a checkout or in an installed package."""

import os
from pathlib import Path

TOP = Path(__file__).resolve().parents[3]  # of the checkout, or of the packages where they are installed


def data_folder(top: Path) -> Path:
    """The folder of what ships: `data` of a checkout, `analysis/_data` where a wheel was installed.

    Args:
        top: The folder that holds the package `analysis`.
    """
    installed = top / "analysis" / "_data"  # setup.py puts it there
    return installed if installed.is_dir() else top / "data"


def set_up_folder(top: Path) -> Path:
    """The folder of what is set up later: `data` of a checkout, else `$XDG_CACHE_HOME/v2drop` or `~/.cache/v2drop`.

    Args:
        top: As for `data_folder`; an installed package may lie where its user cannot write.
    """
    if data_folder(top) == top / "data":
        return top / "data"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "v2drop"


DATA = data_folder(TOP)
EMBEDDED = DATA / "mosaic_llava"
SMOLLM2 = set_up_folder(TOP) / "smollm2"  # by make, or python -m analysis.models.checkpoints.smollm2
MOSAIC_SMOLLM2 = DATA / "mosaic_smollm2"
