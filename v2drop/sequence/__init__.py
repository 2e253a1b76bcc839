"""What is left of a sequence after drops: columns, masks, position ids, KV caches.

Imports `guards`, `models` and `scoring`. No hook and no method; tensors in, tensors out.
"""
