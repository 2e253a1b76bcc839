"""The embedded data set and its model: scenes with questions, what is known of them, the recipe, marking of replies.

Imports `statistics` and `models`.
"""
