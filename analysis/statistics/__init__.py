"""Numbers in, numbers out: intervals and tests, agreement of rankings, checks of frames and lists, square grids.

Knows no model and no method. Imports no other room of `analysis`.
"""
