"""Where a model keeps its layers and what its decoder is like: one entry a family.

Imports `v2drop.types` alone. A new family is one entry of `families.FAMILIES`.
"""
