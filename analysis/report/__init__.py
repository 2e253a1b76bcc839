"""Notebooks to web pages, and the tables of the README that are made, not written.

`python -m analysis.report` runs it all; `claims` is the ledger that README and report share. May import everything else
of analysis; nothing imports report. Nothing is exported. Commands: `python -m analysis.report`, and `.claims`,
`.families_table`, `.notebook_cards` of it.
"""
