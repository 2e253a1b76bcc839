"""Run every notebook and publish what it says.

``python -m analysis.report [--notebooks DIR] [--output DIR] [--methods FILE]`` executes each one on a copy in memory,
so the committed ones stay as they are, and makes it one HTML page; ``index.html`` lists them under the claims ledger. A
notebook that fails still has its page, with the traceback, and the others still run. The methods of a file of one's own
stand beside all others in notebook 02.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.report.notebooks import report
from v2drop.methods.from_file import add_methods


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the report; return 1 when a notebook failed. Wrong arguments end the program with status 2."""
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description="Run notebooks.")
    for name, default in (("--notebooks", "notebooks"), ("--output", "reports")):
        parser.add_argument(name, type=Path, default=Path(default), metavar="DIR", help=f"default: {default}")
    parser.add_argument("--methods", help="a Python file of methods; default: what V2DROP_METHODS names, if anything")
    options = parser.parse_args(arguments)
    if options.methods is not None:
        os.environ["V2DROP_METHODS"] = options.methods  # which kernels read (`analysis.load`)
    try:
        if "V2DROP_METHODS" in os.environ:
            add_methods(os.environ["V2DROP_METHODS"])  # what is wrong with it is said before anything runs
        entries = report(options.notebooks, options.output)
    except ValueError as error:
        parser.error(str(error))
    for entry in entries:
        if entry.error:
            print(f"FAILED {entry.href}: {entry.error}", file=sys.stderr)
    print(options.output / "index.html")
    return int(any(entry.error for entry in entries))


if __name__ == "__main__":
    sys.exit(main())
