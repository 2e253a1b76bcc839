"""Pure functions on tensors: variation metrics, attention rows, clustering, merging, selection.

Imports `v2drop.types` only. No hook and no method. All but `QueriesAndKeys`, which reads the projections of a layer,
can be tried on tensors typed by hand.
"""
