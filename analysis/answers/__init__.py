"""What was asked for the notebooks' verdicts on accuracy, on which questions; recorded, and asked again.

Imports all rooms up to `comparison`.
"""
