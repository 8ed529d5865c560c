"""``python -m strata.worker``: the worker daemon, which the engine's wheel carries, too. ``--help`` tells its options."""

from __future__ import annotations

import sys

from strata import _engine


def main() -> int:
    """Run the daemon with the arguments of this process until it is told to end, and give its exit code."""
    return _engine.worker(["worker", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
