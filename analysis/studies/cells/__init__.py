"""What a cell is: its arguments, what determines its rows, where they come from, and its file.

Imports all rooms up to `figures`.
"""
