"""Positional bias: who keeps which part of the sequence, what chance and content explain of it, what it costs.

Imports `statistics`, `models`, `scenes` and `criteria`.
"""
