"""The sequence after drops: remaining columns, attention masks, position ids, contents of KV caches.

Imports `guards`, `models` and `scoring`. No hook and no method. Two functions change the KV cache that they are given:
`CachedPrompt.trim`, and `cache_rows.follow_rows`, which puts records on its first layer.
"""
