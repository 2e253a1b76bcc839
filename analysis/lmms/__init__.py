"""The model of lmms-eval that drops vision tokens: `lmms-eval --model v2drop` (extra "lmms").

May import all rooms before it. Only `model` needs lmms-eval to be imported; all else is tested without it.
"""
