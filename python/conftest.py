"""What all tests share: the bundled tiny purchases, and the real command line to compare with."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import strata

# Modules that need a cluster's own package are tried where that is.
collect_ignore = [f"strata/{name}.py" for name, needs in (("ray", "ray"), ("spark", "pyspark")) if find_spec(needs) is None]

USERS, PRODUCTS, ROWS = 200, 120, 6000


def purchases() -> pa.Table:
    """Two tastes: even users buy the lower half of the products three times out of four, odd users the upper."""
    random = np.random.default_rng(7)
    user = random.integers(0, USERS, ROWS)
    own = random.random(ROWS) < 0.75
    half = np.where(own, user % 2, 1 - user % 2)
    product = half * (PRODUCTS // 2) + (random.random(ROWS) ** 2 * PRODUCTS / 2).astype(np.int64)
    day = random.integers(19_700, 19_700 + 70, ROWS).astype("datetime64[D]")
    return pa.table(
        {
            "user": user,
            "product": product,
            "day": pa.array(day, pa.date32()),
            "pieces": random.integers(1, 5, ROWS).astype(np.float64),
            "name": pa.array([f"user-{each}" for each in user]),
        }
    )


@pytest.fixture(scope="session")
def table() -> pa.Table:
    return purchases()


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory, table: pa.Table) -> Path:
    path = tmp_path_factory.mktemp("data") / "purchases.parquet"
    pq.write_table(table, path)
    return path


@pytest.fixture(scope="session")
def model(file: Path) -> strata.ALS:
    """A fitted model that tests must not change."""
    return strata.ALS(rank=6, epochs=3, seed=3, progress=False).fit(file, time="day")


@pytest.fixture(scope="session")
def coordinator() -> Callable[..., dict[str, Any]]:
    """Runs the real binary: a verb, the text of a job, further arguments."""
    binary = os.environ["COORDINATOR"]

    def run(folder: Path, verb: str, job: str, *arguments: str) -> dict[str, Any]:
        path = folder / "job.toml"
        path.write_text(job)
        done = subprocess.run([binary, "--json", *arguments, verb, str(path)], capture_output=True, text=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return run


@pytest.fixture(autouse=True)
def _doctests(request: pytest.FixtureRequest) -> None:
    """The examples in docstrings find `purchases.parquet` where they stand."""
    if isinstance(request.node, pytest.DoctestItem):
        folder = request.getfixturevalue("file").parent
        request.getfixturevalue("monkeypatch").chdir(folder)
