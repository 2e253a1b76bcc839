"""Baselines that ignore content: random, stratified, evenly spaced tokens, and tokens that cover the picture."""
