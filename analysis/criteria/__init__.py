"""What criteria say of every vision token: scores, agreement, localisation, the question's part, dropping by them.

Imports `statistics`, `models`, `scenes` and `residual_stream`.
"""
