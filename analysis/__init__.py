"""Questions asked of a model and a method; the answers are tidy DataFrames."""

from analysis.models.loading import Loaded, load

__all__ = ["Loaded", "load"]
