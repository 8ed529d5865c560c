"""The console script ``strata``: the command line ``coordinator`` under another name."""

from __future__ import annotations

import sys

from strata import _engine


def main() -> int:
    """Run the command line with the arguments of this process and give its exit code."""
    return _engine.main(sys.argv)
