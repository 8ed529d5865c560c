"""On Spark: the workers of a call are the tasks of a barrier stage, and the coordinator is in the driver.

    import strata, strata.spark
    model = strata.spark.train(purchases, strata.ALS(rank=64), user="household_id", product="product_id", num_workers=8)
    model.recommend_for_all_users(20).show()

The rows of the data frame stay with the executors: each worker begins with a share of its partitions, in its memory where they have room
there (a quarter of what the engine may take), else in a file of its node, and all workers read them there. Or they come to the driver
(``rows="driver"``), or the executors write them to a place that all share (``staging``).
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from strata import _data, _engine, _node
from strata._progress import Progress, log
from strata._recommender import Recommender
from strata._roster import Roster
from strata._table import Table
from strata.errors import DataError, SettingsError, StrataError, UnavailableError

__all__ = ["Model", "train", "workers"]

Fitted = TypeVar("Fitted", bound=Recommender)

_KINDS = ("user", "product", "value", "time", "context", "event")
#: So often a stage is begun again of which Spark lost an executor.
_STAGES_MAX = 5
#: What Spark says when a barrier stage ended for no fault of its tasks.
_LOST = re.compile(r"ExecutorLostFailure|failed barrier ResultStage|Executor \S+ lost|ExecutorDeadException")
#: How long executors may take to come back before a stage begins with those that are there, in seconds.
_RETURN_SECONDS = 30.0
_LOOK_SECONDS = 0.5
#: Rows of a table that one Spark task decodes.
_ROWS = 1 << 17
#: What the engine gives a worker that is told nothing.
_MEMORY = "2GiB"
#: The column of the numbers of rows, in the order of partitions and of the rows of each, and the bits of what counts within one.
_NUMBER = "_strata_number"
_NUMBER_BITS = 33
#: What the engine says when rows are gone with the worker that had them.
_ROWS_LOST = "had in its memory cannot be read"


@contextmanager
def workers(
    model: Fitted,
    *,
    num_workers: int | None = None,
    timeout: float = 300.0,
    session: SparkSession | None = None,
) -> Iterator[Fitted]:
    """Have the tasks of a barrier stage do whatever the model is asked within: ``fit``, ``recommend``, ``evaluate``, ``update``.

    Parameters
    ----------
    model : Recommender
        A model, fitted or not. Its ``memory`` (2 GiB without it) and ``threads`` (``spark.task.cpus`` without it) are those of each
        worker; the memory lies beside that of the JVM, so ``spark.executor.memoryOverhead`` must have room for it.
    num_workers : int, optional
        Tasks, all of which run at once; one for each executor without it.
    timeout : float
        How long the cluster may take to make room, in seconds.
    session : SparkSession, optional
        The active one without it.
    """
    spark = session or SparkSession.getActiveSession()
    if spark is None:
        raise SettingsError("there is no active session of Spark: make one, or give `session`")
    with _workers(spark, model, _wanted(spark, num_workers), timeout):
        yield model


def _wanted(spark: SparkSession, num_workers: int | None) -> int:
    wanted = num_workers if num_workers is not None else _executors(spark)
    if wanted < 1:
        raise SettingsError(f"`num_workers` is {wanted}: give 1 or more")
    return wanted


@contextmanager
def _workers(spark: SparkSession, model: Recommender, wanted: int, timeout: float, rows: DataFrame | None = None) -> Iterator[Roster]:
    """The workers of a call, which begin with these rows."""
    arguments = ["--threads", str(model.threads or spark.conf.get("spark.task.cpus", "1"))]
    if model.memory is not None:
        arguments += ["--memory", model.memory]
    host = str(spark.conf.get("spark.driver.host"))
    with Roster(host, arguments, spark.conf.get("spark.driver.bindAddress", host)) as roster:
        numbered = None if rows is None else _shared_out(rows, wanted)
        stage = _Stage(spark, roster, wanted, numbered, _engine.room(model.memory or _MEMORY))
        try:
            if not roster.wait(wanted, timeout, stage.look):
                there = len(roster.addresses())
                slots = spark.sparkContext.defaultParallelism
                raise UnavailableError(
                    f"of {wanted} workers {there} have come within {timeout:g} seconds: all must run at once, and Spark runs {slots} tasks at once"
                )
            with model._on(roster.settings):
                yield roster
        except UnavailableError as error:
            if stage.failure is not None:
                raise UnavailableError(f"{error}; Spark gave the workers up: {_reason(stage.failure)}") from stage.failure
            raise
        finally:
            roster.close()
            stage.end()


def train(
    dataframe: DataFrame,
    model: Recommender,
    *,
    num_workers: int | None = None,
    rows: str = "executors",
    staging: str | os.PathLike[str] | None = None,
    timeout: float = 300.0,
    **columns: Any,
) -> Model:
    """Train on a Spark cluster.

    Parameters
    ----------
    dataframe : DataFrame
        One row an interaction. Of its columns those that are named are read.
    model : Recommender
        What to fit.
    num_workers, timeout
        As of :func:`workers`.
    rows : str
        ``"executors"``: each worker begins with a share of the partitions, in its memory as far as a quarter of what the engine may take
        goes, else in a file of its node; none of them goes through the driver. ``"driver"``: they come to the driver, into its memory
        where they have room, else into a temporary folder of its own; that survives the loss of an executor without bringing them anew.
    staging : path, optional
        A folder that the driver and all executors share: the executors then write the rows there, as Parquet, whatever ``rows`` says, and
        what was written goes at the end.
    **columns
        As of ``fit``: ``user``, ``product``, ``time``, ``value``, ``directory`` and so on.

    Returns
    -------
    Model
        The fitted model, with answers as data frames.
    """
    spark = dataframe.sparkSession
    names = {"user": "user", "product": "product", **columns}
    wanted = [names[kind] for kind in _KINDS if names.get(kind) is not None]
    missing = [name for name in wanted if name not in dataframe.columns]
    if missing:
        raise DataError(f"the data frame has no column `{missing[0]}`: it has {', '.join(dataframe.columns)}")
    if rows not in ("executors", "driver"):
        raise SettingsError(f"`rows` is {rows!r}: give 'executors' or 'driver'")
    frame = dataframe.select(*(dataframe[name] for name in wanted))
    there = _wanted(spark, num_workers)
    if rows == "executors" and staging is None:
        return Model(_by_executors(frame, model, there, timeout, columns), spark)
    # They come before the workers, which take all that Spark runs at once.
    with _brought(frame, wanted, staging, model) as source:
        with _workers(spark, model, there, timeout):
            fitted = model.fit(source, **columns)
    return Model(fitted, spark)


def _by_executors(frame: DataFrame, model: Fitted, wanted: int, timeout: float, columns: Mapping[str, Any]) -> Fitted:
    """Fit where the workers have the rows; again, with the rows brought anew, where a worker was lost before all of them were read."""
    for stage in range(1, _STAGES_MAX + 1):
        try:
            with _workers(frame.sparkSession, model, wanted, timeout, frame) as roster:
                held = roster.held()
                if not held:
                    # There is no row, which the engine says in its own words.
                    return model.fit(_no_rows(frame), **columns)
                files = sum(each.in_file for each in held)
                log.info(
                    f"{sum(each.rows for each in held)} rows of {len(held)} partitions stay with {wanted} workers, "
                    + (f"those of {files} in files" if files else "in their memory")
                )
                urls = [each.url for each in held]
                return model.fit(_data.Source(urls, urls), **columns)
        except StrataError as error:
            if _ROWS_LOST not in str(error) or stage == _STAGES_MAX:
                raise
            log.warning("a worker was lost with rows that were not read yet: they are brought anew")
            wanted = _slots(frame.sparkSession, wanted, threading.Event())
    raise AssertionError("the last stage ends the loop")


def _shared_out(frame: DataFrame, workers: int) -> DataFrame:
    """The rows with their numbers, in as many partitions as workers: whole ones of the frame, in its order. Spark's shuffle brings them."""
    places = frame.sparkSession.range(0, 64 * workers, 1, 1)
    hashed = places.select("id", F.pmod(F.hash("id"), F.lit(workers)).alias("place")).collect()
    # A number for each place that Spark's hash sends there.
    keys = {row["place"]: row["id"] for row in hashed}
    numbered = frame.withColumn(_NUMBER, F.monotonically_increasing_id())
    place = F.pmod(F.shiftrightunsigned(_NUMBER, _NUMBER_BITS), F.lit(workers)).cast("int")
    key = F.array(*(F.lit(keys[each]).cast("long") for each in range(workers)))[place]
    return numbered.repartition(workers, key).sortWithinPartitions(_NUMBER)


@contextmanager
def _brought(rows: DataFrame, columns: list[str], staging: Any, model: Recommender) -> Iterator[_data.Source]:
    """The rows for the engine, as long as they are wanted."""
    if staging is None:
        progress = Progress(model.progress)
        try:
            with _data.source(_stream(rows), columns, model.memory, progress) as source:
                progress.close()
                yield source
        finally:
            progress.close()
        return
    place = Path(os.fspath(staging)).absolute() / f"interactions-{uuid.uuid4().hex}"
    try:
        rows.write.parquet(place.as_uri())
        files = sorted(str(file) for file in place.glob("*.parquet"))
        if not files:
            raise UnavailableError(f"{place} holds nothing that the executors wrote: give a `staging` folder that all of them and the driver share")
        yield _data.Source(files, files)
    finally:
        shutil.rmtree(place, ignore_errors=True)


class Model:
    """A fitted model whose answers are data frames of Spark.

    Parameters
    ----------
    model : Recommender
        A fitted or loaded model; it stays at hand as ``.model``, for all that it can be asked beside this.
    session : SparkSession, optional
        The active one without it.
    """

    def __init__(self, model: Recommender, session: SparkSession | None = None) -> None:
        spark = session or SparkSession.getActiveSession()
        if spark is None:
            raise SettingsError("there is no active session of Spark: make one, or give `session`")
        self.model = model
        self._spark: SparkSession = spark
        given = model._job_of_model()["input"]
        self._user, self._product = given.get("user", "user"), given.get("product", "product")

    def __repr__(self) -> str:
        return f"strata.spark.Model({self.model!r})"

    @property
    def digest(self) -> str:
        """BLAKE3 over all factors."""
        return self.model.digest

    @property
    def history(self) -> list[dict[str, Any]]:
        """The learning curve."""
        return self.model.history

    @property
    def user_factors(self) -> DataFrame:
        """The id of each user and its ``factors``."""
        return self._frame(self.model.factors("user"))

    @property
    def product_factors(self) -> DataFrame:
        """The id of each product and its ``factors``."""
        return self._frame(self.model.factors("product"))

    def transform(self, dataframe: DataFrame) -> DataFrame:
        """Add the score of each row's user and product as ``prediction``; NaN where one of them is new, as MLlib has it."""
        kind = self.model._job_of_model()["model"]
        if kind.get("kind") == "filter" or kind.get("time") == "factor" or kind.get("context") == "factor":
            raise SettingsError(
                f"a score of {type(self.model).__name__} is more than the product of a user and a product: ask for lists, with "
                "recommend_for_all_users"
            )
        users = self.user_factors.select(F.col(self._user), F.col("factors").alias("_strata_user"))
        products = self.product_factors.select(F.col(self._product), F.col("factors").alias("_strata_product"))
        joined = dataframe.join(users, self._user, "left").join(products, self._product, "left")
        terms = F.zip_with("_strata_user", "_strata_product", lambda left, right: left.cast("double") * right.cast("double"))
        score = F.aggregate(terms, F.lit(0.0), lambda total, term: total + term).cast("float")
        scored = joined.withColumn("prediction", F.coalesce(score, F.lit(float("nan")).cast("float")))
        return scored.select(*(F.col(name) for name in dataframe.columns), "prediction")

    def recommend_for_all_users(self, k: int = 20, *, exclude_seen: bool = True) -> DataFrame:
        """The k best products of every user: the user and ``recommendations``, an array of the product and its ``score``, best first.

        Products that the user has had are left out unless ``exclude_seen`` is false.
        """
        return self._lists(self.model.recommend(k=k, exclude_seen=exclude_seen))

    def recommend_for_user_subset(self, dataframe: DataFrame, k: int = 20, *, exclude_seen: bool = True) -> DataFrame:
        """The same for the users of a data frame, of which those that the model does not know are left out."""
        wanted = dataframe.select(self._user).distinct()
        known = wanted.join(self.user_factors.select(self._user), self._user)
        users = [row[0] for row in known.collect()]
        if not users:
            raise DataError("the data frame has none of the model's users")
        return self._lists(self.model.recommend(users, k=k, exclude_seen=exclude_seen))

    def recommendForAllUsers(self, numItems: int) -> DataFrame:  # noqa: N802, N803
        """As MLlib's ALSModel has it: every product counts, those that a user has had, too."""
        return self.recommend_for_all_users(numItems, exclude_seen=False)

    def recommendForUserSubset(self, dataset: DataFrame, numItems: int) -> DataFrame:  # noqa: N802, N803
        """As MLlib's ALSModel has it."""
        return self.recommend_for_user_subset(dataset, numItems, exclude_seen=False)

    def _lists(self, lists: Table) -> DataFrame:
        each = F.struct("rank", self._product, "score")
        grouped = self._frame(lists).groupBy(self._user).agg(F.sort_array(F.collect_list(each)).alias("ranked"))
        bare = F.transform("ranked", lambda one: F.struct(one[self._product].alias(self._product), one["score"].alias("score")))
        return grouped.select(self._user, bare.alias("recommendations"))

    def _frame(self, table: Table) -> DataFrame:
        """A table in memory as a data frame: its batches go out as they are, and tasks decode them."""
        import pyarrow as pa
        from pyspark.sql.pandas.types import from_arrow_schema

        whole = pa.table(table)
        fields = [pa.field(each.name, _known_to_spark(each.type)) for each in whole.schema]
        plain = whole.cast(pa.schema(fields))
        batches = [(_encoded(batch),) for batch in plain.to_batches(max_chunksize=_ROWS)]
        partitions = max(1, len(batches))
        encoded = self._spark.sparkContext.parallelize(batches, partitions)
        frame = self._spark.createDataFrame(encoded, "batch binary")
        return frame.mapInArrow(_decode, from_arrow_schema(plain.schema))


class _Stage:
    """A barrier stage whose tasks are workers, run beside the call."""

    def __init__(self, spark: SparkSession, roster: Roster, workers: int, rows: DataFrame | None, room: int) -> None:
        self.failure: BaseException | None = None
        self._spark, self._roster, self._workers, self._rows = spark, roster, workers, rows
        self._group = f"strata-{uuid.uuid4().hex}"
        self._ending = threading.Event()
        invitation = roster.invitation

        def serve(batches: Iterable[Any]) -> Iterator[Any]:
            for _ in batches:
                _node.serve(invitation, _own_address(invitation.host, invitation.port))
            yield from ()

        def serve_rows(batches: Iterable[Any]) -> Iterator[Any]:
            taken = _node.Rows(batches, _NUMBER, _NUMBER_BITS, room)
            _node.serve(invitation, _own_address(invitation.host, invitation.port), taken)
            yield from ()

        self._serve, self._serve_rows = serve, serve_rows
        self._thread = threading.Thread(target=self._run, name="strata-stage", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._spark.sparkContext.setJobGroup(self._group, "strata: workers")
        workers = self._workers
        for stage in range(1, _STAGES_MAX + 1):
            try:
                if self._rows is not None and stage == 1:
                    self._rows.mapInArrow(self._serve_rows, "worker long", barrier=True).collect()
                    if self._roster.closing:
                        return
                    # Spark saw that there is no row, and ran nothing. The engine says so, and needs workers for that.
                    continue
                # Rows were read by now, or the call begins anew.
                self._spark.range(0, workers, 1, workers).mapInArrow(self._serve, "worker long", barrier=True).collect()
                return
            except BaseException as error:  # noqa: BLE001
                if self._ending.is_set():
                    return
                # Spark ends a barrier stage whole when one executor goes, and does not begin this kind anew. The coordinator waits
                # for workers meanwhile.
                if stage == _STAGES_MAX or "strata.errors." in str(error) or not _LOST.search(str(error)):
                    self.failure = error
                    return
                log.warning("Spark lost an executor, and the stage of the workers with it: it is begun anew")
                workers = _slots(self._spark, self._workers, self._ending)
                if self._ending.is_set():
                    return

    def look(self) -> bool:
        """Raise what the stage ended with; whether tasks that bring rows are at work."""
        if self.failure is not None:
            raise UnavailableError(_reason(self.failure)) from self.failure
        if not self._thread.is_alive():
            raise UnavailableError("the stage of the workers ended before they were there")
        return self._rows is not None and self._at_work()

    def _at_work(self) -> bool:
        tracker = self._spark.sparkContext.statusTracker()
        jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(self._group)]
        stages = [tracker.getStageInfo(stage) for job in jobs if job is not None for stage in job.stageIds]
        return any(stage.numActiveTasks > 0 for stage in stages if stage is not None)

    def end(self) -> None:
        """Wait for the stage, whose tasks the roster has let go."""
        self._ending.set()
        self._thread.join(30)


def _own_address(host: str, port: int) -> str:
    """The address of this node by which it reaches the driver."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # Nothing is sent: the system only chooses the way.
        probe.connect((host, port))
        return str(probe.getsockname()[0])


def _slots(spark: SparkSession, wanted: int, ending: threading.Event) -> int:
    """As many tasks as wanted, or after a while as can run at once now: the result is the same with fewer."""
    context = spark.sparkContext._jsc.sc()
    profile = context.resourceProfileManager().defaultResourceProfile()
    until = time.monotonic() + _RETURN_SECONDS
    while (slots := int(context.maxNumConcurrentTasks(profile))) < wanted:
        if time.monotonic() > until or ending.wait(_LOOK_SECONDS):
            break
    return max(1, min(slots, wanted))


def _executors(spark: SparkSession) -> int:
    """Executors of the session; in local mode the driver is the only one."""
    known = spark.sparkContext._jsc.sc().statusTracker().getExecutorInfos()
    return max(1, len(known) - 1)


def _reason(error: BaseException) -> str:
    """What a stage says when it fails, without the calls that led there."""
    said = str(error)
    ours = [line for line in said.splitlines() if line.startswith("strata.errors.")]
    if ours:
        return ours[-1].partition(": ")[2]
    return said.splitlines()[0] if said else type(error).__name__


def _known_to_spark(kind: Any) -> Any:
    """The type that Spark has for one of Arrow: it knows neither unsigned numbers nor lists of one length."""
    import pyarrow as pa

    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_type)
    return pa.int64() if pa.types.is_unsigned_integer(kind) else kind


def _encoded(batch: Any) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _decode(encoded: Iterable[Any]) -> Iterator[Any]:
    import pyarrow as pa

    for each in encoded:
        for batch in each.column(0):
            yield from pa.ipc.open_stream(batch.as_py())


def _encode(batches: Iterable[Any]) -> Iterator[Any]:
    import pyarrow as pa

    for batch in batches:
        yield pa.record_batch({"batch": pa.array([_encoded(batch)], pa.binary())})


def _stream(rows: DataFrame) -> Any:
    """The rows as a stream of Arrow batches, of which the driver holds a partition at a time."""
    import pyarrow as pa

    def batches() -> Iterator[Any]:
        for row in rows.mapInArrow(_encode, "batch binary").toLocalIterator():
            yield from pa.ipc.open_stream(row[0])

    every = batches()
    first = next(every, None)
    if first is None:
        return _no_rows(rows)

    def all_of_them() -> Iterator[Any]:
        yield first
        yield from every

    return pa.RecordBatchReader.from_batches(first.schema, all_of_them())


def _no_rows(frame: DataFrame) -> Any:
    import pyarrow as pa
    from pyspark.sql.pandas.types import to_arrow_schema

    return pa.RecordBatchReader.from_batches(to_arrow_schema(frame.schema), iter(()))
