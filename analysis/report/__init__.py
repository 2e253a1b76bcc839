"""Notebooks to web pages, and the tables of the README that are made, not written.

`python -m analysis.report` runs it all; `claims` is the ledger that README and report share.
May import everything else of analysis; nothing imports report. Nothing is exported: its files are commands.
"""
