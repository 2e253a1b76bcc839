"""How many vision tokens are left from which decoder layer on: schedules, solvers, presets of papers.

Imports no other room. One rounding rule (`counting.share_of`) and one average (`counting.layer_average`) for all.
"""

from v2drop.budgets.schedule import Schedule

__all__ = ["Schedule"]
