"""Hooks of single methods (the engine has its own): they record a part of the model's computation, or change it.

Imports `engine` and the rooms before it. A method returns its hooks from `Method.hooks`.
"""
