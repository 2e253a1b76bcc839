"""The recipe of the embedded model: its configuration, the two stages of training, its accuracy.

Imports `statistics`, `models` and `scenes`.
"""
