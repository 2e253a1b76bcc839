"""The embedded data sets: scenes and texts with questions, what is known of them, prompts, marking of replies.

Imports `statistics` and `models`.
"""
