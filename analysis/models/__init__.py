"""Checkpoints: loading a model with its processor, and pictures, videos and questions as its inputs.

Imports `statistics` and its own two rooms, `prompts` and `checkpoints`.
"""
