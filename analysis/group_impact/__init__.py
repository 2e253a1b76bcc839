"""Impact of vision tokens in groups: what each adds to the answer when only some of the others stay.

Imports `statistics`, `models`, `scenes`, `residual_stream` and `theorem`.
"""
