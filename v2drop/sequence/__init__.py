"""The sequence after drops: remaining columns, attention masks, position ids, contents of KV caches.

Imports `guards`, `models` and `scoring`. No hook and no method. One function changes what it is given:
`CachedPrompt.trim`.
"""
