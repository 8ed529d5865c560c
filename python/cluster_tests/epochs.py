"""Something to do while a model trains, and a disk on which it has no room."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Epochs(logging.Handler):
    """Calls a function with the number of each epoch that is done, and keeps the other lines."""

    def __init__(self, call: Callable[[int], None]) -> None:
        super().__init__()
        self.call, self.lines = call, list[str]()

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if line.startswith("epoch "):
            self.call(int(line.split()[1].split("/")[0]))
        else:
            self.lines.append(line)

    def __enter__(self) -> Epochs:
        log = logging.getLogger("strata")
        log.setLevel(logging.INFO)
        log.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("strata").removeHandler(self)


@contextmanager
def small_disk(at: Path, size: str) -> Iterator[Path]:
    """A file system of its own, in memory, of this size. Mounting one is for the superuser: the test is skipped where we are not."""
    at.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "strata-test", str(at)], capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no small disk can be made here: {error}")
    if done.returncode != 0:
        pytest.skip(f"no small disk can be made here: {done.stderr.strip()}")
    try:
        yield at
    finally:
        # Lazily: a worker that ends may still stand in it.
        subprocess.run(["umount", "-l", str(at)], check=True)
