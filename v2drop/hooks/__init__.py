"""Hooks of single methods: they record a part of the model's computation, or change it.

Imports `engine` and the rooms above it. A method returns its hooks from `Method.hooks`.
"""
