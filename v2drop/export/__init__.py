"""Which vision tokens a method kept, layer by layer, as a file that a serving engine can read without this package.

Imports the rooms up to `methods`.
"""

from v2drop.export.files import read_kept, write_kept
from v2drop.export.kept_positions import KeptPositions, KeptPrompt, kept_positions

__all__ = ["KeptPositions", "KeptPrompt", "kept_positions", "read_kept", "write_kept"]
