"""Prompts: pictures, videos, questions and answers in a family's own chat format.

Imports no other room of `analysis`.
"""
