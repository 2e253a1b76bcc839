"""The `with`: hooks, forward passes, prefill, trace, and the contract that a method fulfils.

Imports `sequence` and the rooms above it, never a method: any object that fulfils `contract.Dropper` drops.
"""
