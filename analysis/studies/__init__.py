"""Ablations as grids of cells: described once, run where the compute is, stopped and resumed, read as one frame.

Imports all rooms up to `figures`.
"""

from analysis.studies.asking import ask
from analysis.studies.running import run
from analysis.studies.study import Study, grid

__all__ = ["Study", "ask", "grid", "run"]
