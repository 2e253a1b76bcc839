"""Baselines that look at no content: random and evenly spaced tokens."""
