"""The Variation-Impact Theorem: Jacobians and their norms, interventions, both sides token by token, statistics.

Imports `statistics`, `models`, `scenes` and `residual_stream`.
"""
