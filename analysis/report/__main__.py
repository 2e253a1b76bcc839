"""Run every notebook and publish what it says.

``python -m analysis.report [--notebooks DIR] [--output DIR]`` executes each one on a copy in memory, so the
committed ones stay as they are, and makes it one HTML page; ``index.html`` lists them under the claims ledger. A
notebook that fails still has its page, with the traceback, and the others still run.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.report.notebooks import report


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the report; return 1 when a notebook failed. Wrong arguments end the program with status 2."""
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description="Run notebooks.")
    for name, default in (("--notebooks", "notebooks"), ("--output", "reports")):
        parser.add_argument(name, type=Path, default=Path(default), metavar="DIR", help=f"default: {default}")
    options = parser.parse_args(arguments)
    try:
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
