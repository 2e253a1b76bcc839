"""A model's decoder as functions of hidden states, the states of one prompt, and which of its tokens are measured.

Imports no other room of `analysis`.
"""
