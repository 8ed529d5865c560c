"""Fitting: the same bits as the command line, from whatever interactions lie in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp

import strata

SETTINGS: dict[str, Any] = {"rank": 6, "epochs": 3, "seed": 3, "progress": False}


def fitted(interactions: Any, **columns: Any) -> str:
    return strata.ALS(**SETTINGS).fit(interactions, **{"time": "day", **columns}).digest


def test_the_digest_is_the_command_lines(
    tmp_path: Path, file: Path, model: strata.ALS, coordinator: Callable[..., dict[str, Any]]
) -> None:
    job = f"""
        [input]
        files = ["{file}"]
        user = "user"
        product = "product"
        time = "day"
        [model]
        kind = "als"
        rank = 6
        epochs = 3
        seed = 3
        [output]
        data = "data"
        model = "model"
    """
    found = coordinator(tmp_path, "run", job)
    assert model.digest == found["digest"]
    assert [each["objective"] for each in model.history] == [each["objective"] for each in found["epochs"]]
    # And on another machine, so to speak.
    other = strata.ALS(**SETTINGS, workers=2, threads=1, memory="512MiB").fit(file, time="day")
    assert other.digest == found["digest"]


@pytest.mark.parametrize(
    "form",
    [
        lambda table: table,
        lambda table: pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=999)),
        lambda table: table.combine_chunks().to_batches()[0],
        lambda table: table.to_pandas(),
        lambda table: pl.DataFrame(table),
        lambda table: duckdb.sql('SELECT * FROM "table"'),
    ],
    ids=["arrow", "batches", "batch", "pandas", "polars", "duckdb"],
)
def test_tables_in_memory_give_the_same_model(table: pa.Table, model: strata.ALS, form: Callable[[pa.Table], Any]) -> None:
    assert fitted(form(table)) == model.digest


def test_what_lies_in_memory_is_read_there(table: pa.Table, model: strata.ALS, tmp_path: Path) -> None:
    from strata import _data
    from strata._progress import Progress

    columns = ["user", "product", "day"]

    def stream() -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=500))

    # Tables whatever the room; streams where there is some; and the rest by a file.
    named = table.to_pandas().astype({"user": "category"})
    held = [(table, "1KiB"), (pl.DataFrame(table), "1KiB"), (table.to_pandas(), "1KiB"), (named, "1KiB"), (stream(), "64MiB")]
    staged = [(stream(), "1KiB"), (duckdb.sql('SELECT * FROM "table"'), "1KiB")]
    for interactions, memory in held + staged:
        with _data.source(interactions, columns, memory, Progress(False)) as source:
            [file] = source.files
            resident = file.startswith("resident://")
            assert resident == any(interactions is one for one, _ in held)
            assert resident != Path(file).is_file()
            assert fitted(source) == model.digest
        # Nobody has it any more.
        with pytest.raises(strata.StrataError):
            fitted(file)


@pytest.mark.parametrize("kind", [pa.decimal128(7, 2), pa.decimal128(18, 3), pa.decimal128(30, 4)], ids=str)
def test_categories_and_decimals_are_read_where_they_lie(table: pa.Table, tmp_path: Path, kind: pa.DataType) -> None:
    from strata import _data
    from strata._progress import Progress

    table = table.set_column(0, "user", table["name"].dictionary_encode())
    table = table.set_column(1, "product", table["product"].cast(pa.int32()).dictionary_encode())
    table = table.set_column(3, "pieces", table["pieces"].cast(kind))
    pq.write_table(table, tmp_path / "purchases.parquet")
    options = {"value": "pieces", "duplicates": "sum", "time": "day"}
    wanted = strata.ALS(**SETTINGS).fit(tmp_path / "purchases.parquet", **options).digest
    assert strata.ALS(**SETTINGS).fit(table, **options).digest == wanted
    # polars has text of its own in categories.
    assert strata.ALS(**SETTINGS).fit(pl.DataFrame(table), **options).digest == wanted
    with _data.source(table, ["user", "product", "pieces", "day"], "1KiB", Progress(False)) as source:
        assert source.files[0].startswith("resident://")


def test_paths_and_lists_of_them(tmp_path: Path, table: pa.Table, model: strata.ALS) -> None:
    half = table.num_rows // 2
    parts = [tmp_path / "part-0.parquet", tmp_path / "part-1.parquet"]
    for part, rows in zip(parts, (table.slice(0, half), table.slice(half))):
        pq.write_table(rows, part)
    assert fitted(parts) == model.digest
    assert fitted(str(tmp_path / "part-*.parquet")) == model.digest
    assert fitted(tmp_path) == model.digest


def test_ids_keep_their_type(table: pa.Table) -> None:
    frame = table.to_pandas()
    frame["name"] = frame["name"].astype("category")
    model = strata.ALS(**SETTINGS).fit(frame, user="name")
    lists = model.recommend(users=["user-3", "user-4"], k=4)
    assert set(lists["name"]) == {"user-3", "user-4"} and len(lists) == 8
    assert lists["product"].dtype == np.int64
    raw = table.set_column(0, "user", table["name"].cast(pa.binary()))
    model = strata.ALS(**SETTINGS).fit(raw)
    assert model.recommend(users=b"user-3", k=2).to_arrow()["user"].to_pylist() == [b"user-3"] * 2


def test_a_sparse_matrix_is_what_its_entries_are(table: pa.Table) -> None:
    sums = table.to_pandas().groupby(["user", "product"])["pieces"].sum().reset_index()
    matrix = sp.csr_array((sums["pieces"], (sums["user"], sums["product"])))
    of_matrix = strata.ALS(**SETTINGS).fit(matrix)
    of_rows = strata.ALS(**SETTINGS).fit(sums, value="pieces")
    assert of_matrix.digest == of_rows.digest
    assert strata.ALS(**SETTINGS).fit(sp.csc_matrix(matrix)).digest == of_matrix.digest


def test_times_in_seconds_are_times(table: pa.Table, model: strata.ALS) -> None:
    seconds = table.set_column(2, "day", table["day"].cast(pa.timestamp("s")))
    tensor = strata.TensorALS(**SETTINGS)
    digest = tensor.fit(seconds, time="day").digest
    assert digest == strata.TensorALS(**SETTINGS).fit(table, time="day").digest != model.digest
    bins = tensor.factors("time")
    assert bins["factors"].shape == (len(bins), 6)
    assert set(np.diff(bins["day"])) == {np.timedelta64(7, "D")}


@pytest.mark.parametrize(
    "model",
    [
        strata.SGD(4, epochs=2, progress=False),
        strata.LightGCN(4, epochs=4, layers=1, progress=False),
        strata.GCN(4, epochs=4, layers=1, progress=False),
        strata.GraphFilter(4, epochs=2, progress=False),
        strata.Spectral(4, epochs=2, progress=False),
    ],
    ids=lambda model: type(model).__name__,
)
def test_every_model_fits_and_recommends(file: Path, model: strata.Recommender) -> None:
    lists = model.fit(file).recommend(k=3, exclude_seen=False)
    assert len(lists) == 3 * 200
    tastes = lists.to_pandas()
    # Even users buy the lower half.
    right = (tastes["product"] >= 60) == (tastes["user"] % 2 == 1)
    assert right.mean() > 0.5


def test_every_parameter_is_a_key() -> None:
    from strata import _job, _recommender

    known = set(_job.defaults())
    for kind in (strata.ALS, strata.TensorALS, strata.SGD, strata.LightGCN, strata.GCN, strata.GraphFilter, strata.Spectral):
        for name in set(kind().get_params()) - {"split", "settings", "progress"}:
            assert _recommender._RUN.get(name, f"model.{name}") in known, name


def test_a_second_fit_is_another_model(file: Path) -> None:
    model = strata.ALS(rank=3, epochs=1, progress=False).fit(file)
    first = model.digest
    assert model.set_params(rank=4).fit(file).digest != first
    assert model.factors()["factors"].shape == (200, 4)


def test_early_stopping_and_the_metrics_of_epochs(file: Path) -> None:
    model = strata.ALS(
        rank=4, epochs=30, patience=2, split={"validation_bins": 2, "test_bins": 2}, progress=False
    ).fit(file, time="day")
    assert any("ndcg" in name for name in model.history[0])
    measured = model.evaluate(k=10, replicates=0)
    assert 0.0 < measured["tasks"]["new_products"]["model"]["recall@10"] <= 1.0
    with pytest.raises(strata.SettingsError, match="nothing is held out for the test"):
        strata.ALS(rank=2, epochs=1, progress=False).fit(file).evaluate()


def test_frames_of_pandas_with_missing_ids_are_refused_by_row(table: pa.Table) -> None:
    frame: pd.DataFrame = table.to_pandas().astype({"user": "Int64"})
    frame.loc[5, "user"] = pd.NA
    with pytest.raises(strata.DataError, match=r"interactions, row 5 \(from 0\): column `user`"):
        fitted(frame)
    skipped = strata.ALS(**SETTINGS, settings={"input.on_bad_row": "skip"}).fit(frame, time="day")
    assert len(skipped.factors()) == 200
