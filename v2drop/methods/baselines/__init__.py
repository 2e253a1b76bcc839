"""Baselines that ignore content: random tokens and evenly spaced tokens."""
