"""Methods on the same questions: accuracy at budgets, paired differences, the tokens they keep.

Imports `statistics`, `models` and `scenes`.
"""
