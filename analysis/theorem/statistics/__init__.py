"""Statistics of the table of `variation_impact`: does the bound hold, is it proportional, what ranks tokens and why.

Frames in, frames out; imports `analysis.statistics` alone. Intervals are over samples: tokens of one picture are not
independent.
"""
