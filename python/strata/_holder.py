"""``python -m strata._holder``: the worker daemon, with rows that it has before it begins and that every worker of a job may read.

They come through a pipe, as one stream of Arrow's IPC format after the other, each with the number of its first row; they stay in the
memory of this process as far as there is room, and lie in files of the worker's folder beyond. What became of them is told on standard
output, which ends before the daemon begins.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Iterator
from typing import Any

from strata import _engine

#: Where the schema of a stream says which number its first row has.
FIRST = b"strata.first"


def main() -> int:
    """Run with a pipe's number, a folder, the bytes of memory that there are for rows, and the daemon's arguments; give its exit code."""
    pipe, folder, room = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    kept, told = [], []
    for held, report in _taken(pipe, folder, room):
        kept.append(held)
        told.append(report)
    json.dump(told, sys.stdout)
    sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return _engine.worker(["worker", *sys.argv[4:]])


def _taken(pipe: int, folder: str, room: int) -> Iterator[tuple[_engine.Resident, list[Any]]]:
    """The tables of a pipe, each with the number of its first row, its name, its rows, and whether a file has them."""
    import pyarrow as pa

    with os.fdopen(pipe, "rb") as streams:
        while streams.peek(1):
            stream = pa.ipc.open_stream(streams)
            # Nobody can guess it: who knows it may read them.
            name = secrets.token_hex(32)
            held, rows, taken = _engine.hold(stream, f"{folder}/{name}.parquet", name, stream.schema.names, room)
            room -= taken or 0
            yield held, [int(stream.schema.metadata[FIRST]), name, rows, taken is None]


if __name__ == "__main__":
    sys.exit(main())
