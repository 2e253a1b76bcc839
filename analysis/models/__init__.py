"""Checkpoints: loading a model with its processor, and pictures, videos and questions as its inputs.

Imports no other room of `analysis`.
"""
