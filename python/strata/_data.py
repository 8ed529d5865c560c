"""Interactions as callers have them, as files that the engine reads.

Paths, globs and URLs go to the engine as they are. What lies in memory is staged first: streamed, batch by batch, into one
uncompressed Parquet file of the columns that are asked for, in a private temporary folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from strata import _engine
from strata._progress import Progress
from strata.errors import DataError, SettingsError

#: What staged interactions are called in sentences.
STAGED = "interactions"


def files_of(
    interactions: Any,
    columns: list[str],
    folder: Path,
    progress: Progress,
) -> list[str]:
    """The files of interactions; those that lie in memory are staged in ``folder``."""
    paths = _paths(interactions)
    if paths is not None:
        return paths
    stream = _stream(interactions, columns)
    file = folder / f"{STAGED}.parquet"
    _engine.stage(stream, str(file), columns, progress)
    return [str(file)]


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
        return interactions
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
