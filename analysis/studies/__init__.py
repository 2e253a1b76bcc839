"""Ablations as grids of cells: described once, run where the compute is, stopped and resumed, read as one frame.

Imports all rooms up to `figures`.
"""

from analysis.studies.asking import ask
from analysis.studies.cells.study import Study, grid
from analysis.studies.running import run

__all__ = ["Study", "ask", "grid", "run"]
