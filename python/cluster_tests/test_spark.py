"""On Spark with executors that are processes of their own: one digest, and answers that are data frames."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("pyspark")

from pyspark.sql import DataFrame, SparkSession  # noqa: E402

import strata  # noqa: E402
import strata.spark  # noqa: E402
from cluster_tests.epochs import Epochs, small_disk  # noqa: E402

EPOCHS = 400


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    builder = SparkSession.builder.master("local-cluster[2,1,1024]").appName("strata")
    # The executors are told where this package lies, as a cluster's are by what is installed there.
    builder = builder.config("spark.executorEnv.PYTHONPATH", os.environ["PYTHONPATH"])
    for key, value in {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.scheduler.barrier.maxConcurrentTasksCheck.interval": "1s",
    }.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    yield spark
    spark.stop()


@pytest.fixture(scope="module")
def frame(spark: SparkSession, file: Path) -> DataFrame:
    return spark.read.parquet(str(file)).repartition(3)


@pytest.fixture(scope="module")
def fitted(frame: DataFrame) -> strata.spark.Model:
    return strata.spark.train(frame, als(), time="day")


def als(epochs: int = 3, **more: Any) -> strata.ALS:
    """As the model of all tests."""
    return strata.ALS(rank=6, epochs=epochs, seed=3, progress=False, **more)


def test_one_digest(
    frame: DataFrame,
    file: Path,
    fitted: strata.spark.Model,
    tmp_path: Path,
    coordinator: Callable[..., dict[str, Any]],
) -> None:
    text = f'[input]\nfiles = ["{file}"]\nuser = "user"\nproduct = "product"\ntime = "day"\n'
    text += '[model]\nkind = "als"\nrank = 6\nepochs = 3\nseed = 3\n[output]\ndata = "data"\nmodel = "model"\n'
    assert fitted.digest == coordinator(tmp_path, "run", text)["digest"]
    assert [epoch["epoch"] for epoch in fitted.history] == [1, 2, 3]
    # Whichever way the rows take: by the driver, and by files that the executors write, none of which stays.
    assert strata.spark.train(frame, als(), time="day", rows="driver").digest == fitted.digest
    staged = strata.spark.train(frame, als(), time="day", num_workers=1, staging=tmp_path / "staging")
    assert staged.digest == fitted.digest
    assert list((tmp_path / "staging").iterdir()) == []


def test_rows_stay_with_the_executors_in_the_order_of_partitions(spark: SparkSession, frame: DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of several rows of a user and a product the last one counts, so that an order that is not that of partitions is another digest.
    shuffled = frame.repartition(5, "pieces").cache()
    pq.write_table(pa.Table.from_pandas(shuffled.toPandas()), tmp_path / "in-order.parquet")
    last = {"value": "pieces", "duplicates": "last"}
    wanted = als().fit(tmp_path / "in-order.parquet", **last).digest

    def staged(*_: Any) -> Any:
        raise AssertionError("rows go through the driver")

    monkeypatch.setattr(strata.spark, "_brought", staged)
    for workers in (1, 2):
        with Epochs(lambda _: None) as heard:
            assert strata.spark.train(shuffled, als(), num_workers=workers, **last).digest == wanted
        said = [line for line in heard.lines if "stay with" in line]
        assert len(said) == 1 and said[0].startswith("6000 rows of ")
        assert said[0].endswith(f" partitions stay with {workers} workers, in their memory")
    # What has no room in memory lies in files of the nodes.
    monkeypatch.setattr(strata.spark._engine, "room", lambda _: 50_000)
    with Epochs(lambda _: None) as heard:
        assert strata.spark.train(shuffled, als(), num_workers=2, **last).digest == wanted
    assert any("stay with 2 workers, those of" in line and line.endswith("in files") for line in heard.lines), heard.lines
    shuffled.unpersist()


def test_rows_that_are_lost_are_brought_anew(frame: DataFrame, fitted: strata.spark.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    held, killed = strata.spark.Roster.held, list[int]()

    def lose(roster: Any) -> Any:
        there = held(roster)
        if not killed:
            killed.append(executors(frame.sparkSession)[0])
            os.kill(killed[0], signal.SIGKILL)
            until = time.monotonic() + 60
            while roster.addresses() and time.monotonic() < until:
                time.sleep(0.1)
        return there

    monkeypatch.setattr(strata.spark.Roster, "held", lose)
    with Epochs(lambda _: None) as heard:
        again = strata.spark.train(frame, als(), time="day", num_workers=2)
    assert again.digest == fitted.digest
    assert [line for line in heard.lines if "brought anew" in line], heard.lines


def test_answers_are_data_frames(spark: SparkSession, frame: DataFrame, fitted: strata.spark.Model) -> None:
    lists = {row["user"]: row["recommendations"] for row in fitted.recommend_for_all_users(4).collect()}
    here = fitted.model.recommend(k=4)
    assert len(lists) == 200
    for user in (0, 7, 199):
        mine = here["user"] == user
        assert [each["product"] for each in lists[user]] == here["product"][mine].tolist()
        assert np.allclose([each["score"] for each in lists[user]], here["score"][mine])

    wanted = spark.createDataFrame([(7, "a"), (7, "b"), (4711, "c")], "user int, note string")
    subset = fitted.recommend_for_user_subset(wanted, 4).collect()
    assert [(row["user"], row["recommendations"]) for row in subset] == [(7, lists[7])]
    with pytest.raises(strata.DataError, match="none of the model's users"):
        fitted.recommend_for_user_subset(wanted.where("user = 4711"))
    everything = fitted.recommendForAllUsers(4).where("user = 7").collect()[0]["recommendations"]
    assert everything[0]["score"] >= lists[7][0]["score"]

    # The score of a list is that of the pair; whom nobody knows has none.
    pairs = [(7, each["product"], each["score"]) for each in lists[7]] + [(4711, 1, 0.0)]
    scored = fitted.transform(spark.createDataFrame(pairs, "user long, product long, score float"))
    assert scored.columns == ["user", "product", "score", "prediction"]
    for row in scored.collect():
        if row["user"] == 7:
            assert abs(row["prediction"] - row["score"]) < 1e-5
        else:
            assert np.isnan(row["prediction"])
    assert len(fitted.user_factors.first()["factors"]) == 6 and fitted.product_factors.count() == 120


def test_what_a_model_is_asked_later_is_done_there(fitted: strata.spark.Model) -> None:
    here = fitted.model.recommend(k=5)["score"]
    with strata.spark.workers(fitted.model, num_workers=2) as there:
        assert (there.recommend(k=5)["score"] == here).all()


def executors(spark: SparkSession) -> list[int]:
    """The processes of its executors, of this machine."""
    application = spark.sparkContext.applicationId.encode()
    found = []
    for each in Path("/proc").iterdir():
        try:
            words = (each / "cmdline").read_bytes().split(b"\0") if each.name.isdigit() else []
        except OSError:
            continue
        if b"org.apache.spark.executor.CoarseGrainedExecutorBackend" in words and application in words:
            found.append(int(each.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="executors are found by /proc")
def test_a_lost_executor(frame: DataFrame, file: Path) -> None:
    wanted = als(EPOCHS).fit(file, time="day").digest
    killed: list[int] = []

    def at(epoch: int) -> None:
        if epoch >= 3 and not killed:
            killed.append(executors(frame.sparkSession)[0])
            os.kill(killed[0], signal.SIGKILL)

    with Epochs(at) as heard:
        fitted = strata.spark.train(frame, als(EPOCHS), time="day", num_workers=2)
    assert fitted.digest == wanted
    assert len([line for line in heard.lines if "Spark lost an executor" in line]) == 1, heard.lines
    assert any("is lost: the worker at" in line for line in heard.lines), heard.lines


def on_a_small_disk(monkeypatch: pytest.MonkeyPatch, small: Path, workers: int) -> None:
    """Have the first workers of a stage keep what they need there."""
    real = strata.spark._own_address

    def address(host: str, port: int) -> str:
        import tempfile

        from pyspark import TaskContext

        context = TaskContext.get()
        assert context is not None
        # Spark keeps the process for the tasks that come.
        tempfile.tempdir = str(small) if context.partitionId() < workers else None
        return real(host, port)

    monkeypatch.setattr(strata.spark, "_own_address", address)


def test_a_full_disk(frame: DataFrame, fitted: strata.spark.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "small", "160k") as small:
        # What one of two has no room for, the other does.
        with monkeypatch.context() as patch:
            on_a_small_disk(patch, small, workers=1)
            assert strata.spark.train(frame, als(), time="day", num_workers=2).digest == fitted.digest
        # All of them say so.
        on_a_small_disk(monkeypatch, small, workers=2)
        with pytest.raises(strata.TryAgainError, match="no space is left for .*: free some, or choose another directory"):
            strata.spark.train(frame, als(), time="day", num_workers=2)


def test_one_sentence(frame: DataFrame) -> None:
    with pytest.raises(strata.UnavailableError, match=r"of 9 workers 0 have come within 1 seconds: all must run at once, and Spark runs \d+ tasks at once"):
        strata.spark.train(frame, als(), num_workers=9, timeout=1)
    with pytest.raises(strata.UnavailableError, match=r"does not start \(exit code 78\): worker: --memory 1 MiB is too"):
        strata.spark.train(frame, als(memory="1MiB"), num_workers=1)
    with pytest.raises(strata.SettingsError, match="`num_workers` is 0"):
        strata.spark.train(frame, als(), num_workers=0)
    with pytest.raises(strata.DataError, match="the data frame has no column `usr`: it has "):
        strata.spark.train(frame, als(), user="usr", num_workers=1)
    with pytest.raises(strata.SettingsError, match="`rows` is 'disk': give 'executors' or 'driver'"):
        strata.spark.train(frame, als(), rows="disk")
    said = set[str]()
    for rows in ("executors", "driver"):
        with pytest.raises(strata.StrataError) as none:
            strata.spark.train(frame.limit(0), als(), num_workers=1, rows=rows)
        said.add(str(none.value))
    assert len(said) == 1 and "interactions" in said.pop()
