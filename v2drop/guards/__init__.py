"""Checks of what cannot work while tokens are dropped: calls, values, KV caches, `generate`, threads, a `with`'s state.

Imports `models`. A check raises ValueError with the way out, and never changes a model's results.
"""
