"""The command line: one file per command, one line for every error."""

from __future__ import annotations

import sys

from provable.cli.application import run

__all__ = ["main"]


def main() -> None:
    """Run the console script and exit with its status: 0 as expected, 1 fell short, 2 wrong input or usage."""
    sys.exit(run(sys.argv[1:]))
