"""How `pytest --nbval` compares here: words and whole numbers exactly, all other numbers to RTOL.

nbval by itself wants equal strings, so a last digit that another processor rounds differently is a failure.
What a cell writes to stderr counts as output; pictures do not, so a figure's numbers are printed beside it.
"""

import math
import os
import re
from pathlib import Path

from nbval.plugin import IPyNbCell

RTOL, ATOL = 1e-3, 1e-8
FLOAT = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE][-+]?\d))(?:[eE][-+]?\d+)?")

# The kernels inherit the conditions under which the stored numbers were made: see STILL in the Makefile.
os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", TQDM_DISABLE="1", TRANSFORMERS_VERBOSITY="error")
for name in ("V2DROP_MODEL", "V2DROP_METHODS"):
    os.environ.pop(name, None)

# Where the package index has SmolLM2 no more, everything but its notebook is still checked.
SMOLLM2 = Path(__file__).parents[1] / "data" / "smollm2"
collect_ignore = [] if SMOLLM2.exists() else ["07_real_decoder.ipynb", "08_ablations.ipynb"]


class ApproxText(str):
    """A text equal to another when the words agree and the floats agree to RTOL; widths do not matter."""

    __hash__ = str.__hash__

    def __eq__(self, other):
        """Compare word by word, float by float."""
        ours, theirs = FLOAT.findall(self), FLOAT.findall(other)
        return FLOAT.sub("\0", self).split() == FLOAT.sub("\0", other).split() and all(
            math.isclose(float(a), float(b), rel_tol=RTOL, abs_tol=ATOL) for a, b in zip(ours, theirs, strict=True)
        )

    def __ne__(self, other):
        """Negate `__eq__`; `str` brings an exact one of its own."""
        return not self == other


nbval_sanitize = IPyNbCell.sanitize


def sanitize(cell, text):
    """Return what nbval would compare exactly as something that compares approximately."""
    clean = nbval_sanitize(cell, text)
    return ApproxText(clean) if isinstance(clean, str) else clean


# nbval has no hook for this, so its version is pinned, and tests/test_notebooks.py sees that this bites.
IPyNbCell.sanitize = sanitize


def pytest_collectstart(collector):
    """Leave out the HTML twin of every printed frame: its text is compared."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("text/html", "text/latex")
