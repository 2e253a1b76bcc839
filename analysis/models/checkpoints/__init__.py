"""Checkpoints: options, cheap checks before weights are read, weights and processors that fit, one-line errors.

Imports `models.prompts`.
"""
