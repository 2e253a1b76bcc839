"""The recipes of the embedded model and of the graft: configuration, stages of training, accuracy.

Imports `statistics`, `models` and `scenes`.
"""
