"""Number of vision tokens left from each drop layer on: schedules, solvers, presets of papers.

Imports no other room. There is one rounding rule (`counting.share_of`) and one average (`counting.layer_average`).
"""

from v2drop.budgets.schedule import Schedule

__all__ = ["Schedule"]
