"""What single methods note of the model's computation, or change in it, beside dropping.

Imports `engine` and the rooms above it. A method gives its own hooks in `Method.hooks`.
"""
