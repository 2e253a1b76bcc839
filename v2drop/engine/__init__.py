"""The `with`: its hooks, forward passes, prefill and trace, and the contract between the engine and a method.

Imports `sequence` and the rooms before it, never a method: any object that fulfils `contract.Dropper` can be used.
"""
