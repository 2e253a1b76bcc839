"""Questions asked of a model and a method; the answers are tidy DataFrames."""
