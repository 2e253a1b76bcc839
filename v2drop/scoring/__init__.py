"""Pure functions on tensors: variation metrics, attention rows, clustering, merging, selection.

Imports `v2drop.types` alone. No model, no hook, no method; every function can be tried on a tensor typed by hand.
"""
