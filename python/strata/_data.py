"""Interactions as callers have them, as files that the engine reads.

Paths, globs and URLs go to the engine as they are. A table in memory is read where it lies. A stream comes into memory where there is
room, a quarter of what the engine may take; a longer one is staged, batch by batch, in one uncompressed Parquet file of the columns that
are asked for, in a private temporary folder.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from strata import _engine
from strata._progress import Progress
from strata.errors import DataError, SettingsError

#: What interactions without a name of their own are called in sentences.
STAGED = "interactions"


@dataclass(frozen=True)
class Source:
    """Where the engine finds interactions; ``passing`` are names that nobody else knows."""

    files: list[str]
    passing: list[str]

    def plain(self, sentence: str) -> str:
        """A sentence of the engine without names that the caller does not know."""
        for name in self.passing:
            sentence = sentence.replace(name, STAGED)
        return sentence


@contextmanager
def source(interactions: Any, columns: list[str], memory: str | None, progress: Progress) -> Iterator[Source]:
    """Interactions for the engine, as long as they are wanted."""
    if isinstance(interactions, Source):
        yield interactions
        return
    paths = _paths(interactions)
    if paths is not None:
        yield Source(paths, [])
        return
    with tempfile.TemporaryDirectory(prefix="strata-staged-") as folder:
        file = f"{folder}/{STAGED}.parquet"
        stream = _stream(interactions, columns)
        room = None if _lies_in_memory(stream) else _engine.room(memory)
        held = _engine.take(stream, file, columns, room, progress)
        del stream
        if held is None:
            yield Source([file], [file])
            return
        try:
            yield Source([held.url], [held.url])
        finally:
            held.let_go()


def _lies_in_memory(stream: Any) -> bool:
    """Whether these are the rows of a table, and not the promise of rows that a reader or a relation of DuckDB is."""
    # Those of pyarrow, polars and pandas; a relation's columns are its attributes.
    return any(hasattr(type(stream), name) for name in ("num_rows", "height", "iloc"))


def _paths(interactions: Any) -> list[str] | None:
    if isinstance(interactions, (str, os.PathLike)):
        return [_path(interactions)]
    if isinstance(interactions, (list, tuple)) and interactions:
        if all(isinstance(path, (str, os.PathLike)) for path in interactions):
            return [_path(path) for path in interactions]
    return None


def _path(path: str | os.PathLike[Any]) -> str:
    text = os.fsdecode(path)
    return text if "://" in text else os.path.abspath(text)


def _stream(interactions: Any, columns: list[str]) -> Any:
    if hasattr(interactions, "__arrow_c_stream__"):
        return _narrowed(interactions, columns)
    if hasattr(interactions, "tocoo") and hasattr(interactions, "shape"):
        return matrix(interactions, columns)
    if hasattr(interactions, "__arrow_c_array__"):
        # A single record batch.
        import pyarrow as pa

        return pa.Table.from_batches([pa.record_batch(interactions)])
    found = type(interactions).__name__
    raise DataError(
        f"interactions are a {found}: give a Parquet file (a path, a glob, a URL, or a list of them), a table that speaks Arrow "
        "(pyarrow, pandas, polars, DuckDB), or a sparse matrix of SciPy"
    )


def _narrowed(table: Any, columns: list[str]) -> Any:
    """A frame of pandas without the columns that nobody reads: it turns all that it has into Arrow."""
    names = list(getattr(table, "columns", [])) if hasattr(type(table), "iloc") else []
    wanted = list(dict.fromkeys(columns))
    if len(names) == len(set(names)) and set(wanted) < set(names):
        return table[wanted]
    return table


def matrix(interactions: Any, columns: list[str]) -> _engine.Table:
    """The stored entries of a sparse matrix (users x products): positions are ids, entries values."""
    import numpy as np

    if len(columns) not in (2, 3):
        raise SettingsError("a sparse matrix has users, products and values, and neither times nor contexts nor events")
    entries = interactions.tocoo()
    coordinates = getattr(entries, "coords", None) or (entries.row, entries.col)
    given: list[tuple[str, Any]] = list(zip(columns, coordinates))
    if len(columns) == 3:
        values = entries.data
        if values.dtype.kind not in "iuf" or values.dtype.itemsize > 8:
            values = values.astype(np.float64)
        given.append((columns[2], values))
    return _engine.Table.of([(name, _word(array), np.ascontiguousarray(array).tobytes()) for name, array in given])


def _word(array: Any) -> str:
    return f"<{array.dtype.kind}{array.dtype.itemsize}"


def ids_of(ids: Iterable[Any] | Any, what: str) -> list[str]:
    """Original ids as the engine writes them: numbers and text as they are, bytes in hexadecimals."""
    if isinstance(ids, (str, bytes)) or not hasattr(ids, "__iter__"):
        ids = [ids]
    written = []
    for each in ids:
        each = each.item() if hasattr(each, "item") else each
        if isinstance(each, bytes):
            written.append(each.hex())
        elif isinstance(each, (int, str)) and not isinstance(each, bool):
            written.append(str(each))
        else:
            raise DataError(f"{each!r} is no id of a {what}: ids are integers, text or bytes")
    if not written:
        raise DataError(f"no {what} is named: give at least one id, or None for all")
    return written
