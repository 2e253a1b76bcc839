"""Supported families, the modules of one model, the properties of its decoder, and devices.

Imports `v2drop.types` only. A new family is one entry of `families.FAMILIES`.
"""
