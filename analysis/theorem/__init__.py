"""The Variation-Impact Theorem: Jacobians and their norms, interventions, both sides token by token.

`theorem.statistics` says what the table of both sides means. Imports `statistics`, `models`, `scenes` and
`residual_stream`.
"""
