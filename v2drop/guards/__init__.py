"""What is refused while tokens are dropped, and the message: calls, caches, `generate`, state of a `with`.

Imports `models`. Nothing here changes a model's numbers.
"""
