"""Tables that verbs give: Arrow in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strata import _engine


class Table:
    """Rows that the engine gave, as Arrow in memory.

    Any library that speaks the Arrow PyCapsule interface takes it as it is, without a copy: ``pyarrow.table(t)``,
    ``polars.DataFrame(t)``. ``t["column"]`` is a NumPy array.

    Attributes
    ----------
    facts : mapping
        What the verb told beside the rows, as ``docs/json.md`` has it: of ``segments`` the products that each is known by.
    """

    def __init__(self, inner: _engine.Table, facts: Mapping[str, Any] | None = None) -> None:
        self._inner = inner
        self.facts: Mapping[str, Any] = facts or {}

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._inner.__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return self._inner.num_rows

    def __repr__(self) -> str:
        return f"<strata.Table of {len(self):,} rows: {', '.join(self.column_names)}>"

    @property
    def column_names(self) -> list[str]:
        """The names of the columns, in order."""
        return self._inner.column_names

    def __getitem__(self, column: str) -> Any:
        """A column as a NumPy array: of shape (rows,), or (rows, r) where it holds factors; text as objects."""
        import numpy as np

        word, values, width = self._inner.column(column)
        if isinstance(values, list):
            texts = np.empty(len(values), dtype=object)
            texts[:] = values
            return texts
        numbers = np.frombuffer(values, dtype=word)
        return numbers.reshape(-1, width) if width else numbers

    def to_arrow(self) -> Any:
        """A ``pyarrow.Table``, without a copy."""
        import pyarrow as pa

        return pa.table(self)

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """A ``polars.DataFrame``, without a copy."""
        import polars as pl

        return pl.DataFrame(self)
