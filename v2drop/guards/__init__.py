"""Checks of what cannot work while tokens are dropped: calls, KV caches, `generate`, the state of a `with`.

Imports `models`. A check raises ValueError with the way out, and never changes a model's results.
"""
