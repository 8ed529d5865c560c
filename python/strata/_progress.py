"""What a verb tells on its way: a bar of tqdm where that is installed, and lines for the logger ``strata``."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger("strata")

#: Who else hears of every epoch as it ends: its number, the objective, the metrics.
EPOCHS: list[Callable[[int, float | None, list[tuple[str, float]]], None]] = []


class Progress:
    """Hears the engine, and keeps one bar for the phase that goes on.

    Parameters
    ----------
    shown : bool or None
        ``None``: bars on a terminal and in notebooks, ``True``: anywhere, ``False``: none.
    """

    def __init__(self, shown: bool | None) -> None:
        self._bar: Any = None
        self._tqdm: Any = None
        if shown is not False:
            try:
                from tqdm.auto import tqdm
            except ImportError:
                return
            # tqdm's own None: off where nobody looks.
            self._disable = None if shown is None else False
            self._tqdm = tqdm

    def __call__(self, what: str, *told: Any) -> None:
        getattr(self, "_" + what)(*told)

    def _begin(self, phase: str, unit: str, total: int | None) -> None:
        self.close()
        log.info("%s ...", phase)
        if self._tqdm is not None:
            self._bar = self._tqdm(
                desc=phase,
                unit=f" {unit}",
                total=total,
                leave=False,
                disable=self._disable,
                mininterval=0.2,
            )

    def _progress(self, done: int, total: int | None) -> None:
        if self._bar is not None:
            if total is not None:
                self._bar.total = total
            self._bar.update(done - self._bar.n)

    def _end(self, summary: str) -> None:
        log.info("%s", summary)
        self.close()

    def _epoch(self, epoch: int, epochs: int, objective: float | None, metrics: list[tuple[str, float]]) -> None:
        log.info("epoch %d/%d objective %s %s", epoch, epochs, objective, dict(metrics))
        for hear in EPOCHS:
            hear(epoch, objective, metrics)
        if self._bar is not None:
            shown = {"epoch": f"{epoch}/{epochs}"}
            if objective is not None:
                shown["objective"] = f"{objective:.4e}"
            self._bar.set_postfix(shown)

    def _note(self, line: str) -> None:
        log.info("%s", line)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
