"""Ablations of the paper's kind: a study a file, named by the file, each a grid of `ask`.

Imports all rooms up to `studies`.
"""
