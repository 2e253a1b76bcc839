"""What a model needs and what a method saves: parameters, cache, time.

Imports `models`, `scenes` and `comparison`.
"""
