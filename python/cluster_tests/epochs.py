"""Something to do while a model trains."""

from __future__ import annotations

import logging
from collections.abc import Callable


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
