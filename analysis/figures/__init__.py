"""Figures and tables for reading: frame in, Axes or text out, no arithmetic but that of drawing.

What a criterion or a method is called and looks like is said once, in `labels`. `show` displays a figure in a notebook.
May import what the figures are about (scenes, statistics, theorem); of analysis, only report may import figures.
"""

from analysis.figures.comparison import interval_dots, pair_matrix
from analysis.figures.criteria import criterion_scatter, over_positions, retention_maps, similarity_map, variance_parts
from analysis.figures.curves import accuracy_curve, level, lines, lines_with_error_bars, overlay
from analysis.figures.display import legend_below, show
from analysis.figures.labels import label, look
from analysis.figures.overview import overview
from analysis.figures.study_figures import study_figure
from analysis.figures.study_tables import written_table
from analysis.figures.tables import interval_table
from analysis.figures.theorem import both_sides, by_layer, criterion_bars, token_maps, variance_shares

__all__ = [
    "accuracy_curve",
    "both_sides",
    "by_layer",
    "criterion_bars",
    "criterion_scatter",
    "interval_dots",
    "interval_table",
    "label",
    "legend_below",
    "level",
    "lines",
    "lines_with_error_bars",
    "look",
    "over_positions",
    "overlay",
    "overview",
    "pair_matrix",
    "retention_maps",
    "show",
    "similarity_map",
    "study_figure",
    "token_maps",
    "variance_parts",
    "variance_shares",
    "written_table",
]
