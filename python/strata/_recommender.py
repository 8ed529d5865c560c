"""What all models have in common: they are fitted, asked, saved and loaded in the same way."""

from __future__ import annotations

import inspect
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from strata import _data, _engine, _job
from strata._progress import Progress
from strata._table import Table
from strata.errors import NotFittedError, SettingsError, StrataError

Self = TypeVar("Self", bound="Recommender")

#: Parameters that are of no model: where they stand in a job.
_RUN = {"memory": "run.memory", "threads": "run.threads", "workers": "run.workers"}


class Recommender:
    """The base of all models. Its parameters are those of every model.

    Parameters
    ----------
    split : dict, optional
        What is held out, as the keys of ``[split]``: ``{"test_bins": 4, "validation_bins": 4}`` by time, or
        ``{"test_fraction": 0.1}`` by hash. Without it nothing is, and ``evaluate`` has nothing to measure.
    settings : dict, optional
        Any other key of ``docs/settings.md`` by its path, as in ``{"model.cg_steps": 2, "input.on_bad_row": "skip"}``.
    memory : str, optional
        The most memory that the engine may take, as in ``"8GiB"``; 60 % of the machine's without it.
    threads, workers : int or str, optional
        Threads of each worker, and workers: a number of them in this process, or addresses of daemons (``"host:port,..."``).
    progress : bool, optional
        ``None``: a bar of tqdm where it is installed and somebody looks; ``True`` and ``False`` say so.

    Notes
    -----
    A parameter that is ``None`` is the default of the engine, which ``docs/settings.md`` tells. Nothing of what is not in
    ``[input]``, ``[split]`` or ``[model]`` changes a bit of the result.
    """

    #: What the job says of the model whatever its parameters are.
    _fixed: ClassVar[Mapping[str, Any]] = {}
    #: What every job says while the work is done somewhere else.
    _elsewhere: Mapping[str, Any] = {}

    def __init__(
        self,
        *,
        split: Mapping[str, Any] | None = None,
        settings: Mapping[str, Any] | None = None,
        memory: str | None = None,
        threads: int | None = None,
        workers: int | str | None = None,
        progress: bool | None = None,
    ) -> None:
        self.split = split
        self.settings = settings
        self.memory = memory
        self.threads = threads
        self.workers = workers
        self.progress = progress

    # --- scikit-learn's manners

    @classmethod
    def _names(cls) -> list[str]:
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name, as scikit-learn asks for them."""
        del deep
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self: Self, **params: Any) -> Self:
        """Set parameters by name; what was fitted before stays as it is."""
        names = self._names()
        for name, value in params.items():
            if name not in names:
                raise SettingsError(f"{type(self).__name__} has no parameter {name}: it has {', '.join(names)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        given = {name: value for name, value in self.get_params().items() if value is not None}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in given.items())})"

    def __sklearn_is_fitted__(self) -> bool:
        return "_fitted_job" in vars(self)

    def __getstate__(self) -> dict[str, Any]:
        if self.__sklearn_is_fitted__():
            raise StrataError("a fitted model is a folder: save() it, and load() it where it is wanted")
        return {name: value for name, value in vars(self).items() if name != "_temporary"}

    @contextmanager
    def _on(self, settings: Mapping[str, Any]) -> Iterator[None]:
        """Have the work within done with these settings; the model itself does not keep them."""
        self._elsewhere = dict(settings)
        try:
            yield
        finally:
            del self._elsewhere

    # --- fitting

    def fit(
        self: Self,
        interactions: Any,
        y: None = None,
        *,
        user: str = "user",
        product: str = "product",
        time: str | None = None,
        value: str | None = None,
        context: str | None = None,
        event: str | None = None,
        event_weights: Mapping[str, float] | None = None,
        time_bin: str | None = None,
        duplicates: str | None = None,
        directory: str | Path | None = None,
    ) -> Self:
        """Train on interactions.

        Parameters
        ----------
        interactions : path, URL, glob, list of these, Arrow table, DataFrame or sparse matrix
            One row an interaction. A Parquet file is read where it is (``s3://``, ``gs://``, ``az://`` and ``https://``, too), and so is a
            table in memory (pyarrow, pandas, polars).
            Whatever else exports an Arrow stream (a reader, a relation of DuckDB) comes into memory as far as a quarter of
            ``memory`` goes, beside what the engine takes; a longer stream into a temporary file. A matrix of SciPy, users x
            products, has positions for ids and its entries for values.
        y : None
            Not used: for pipelines of scikit-learn.
        user, product : str
            The columns of ids: integers, text or bytes. Whatever comes back has them in the same form.
        time, value, context, event : str, optional
            The columns of times, of values, of contexts (the store, the channel) and of kinds of events.
        event_weights : dict, optional
            What each event counts, as in ``{"view": 0.1, "purchase": 1.0}``.
        time_bin : str, optional
            The width of a bin of time: ``"hour"``, ``"day"``, ``"week"``, ``"month"``, ``"quarter"`` or ``"none"``.
        duplicates : str, optional
            What becomes of several rows of one user, product and bin: ``"count"``, ``"sum"``, ``"max"`` or ``"last"``. Without
            it values are summed, and rows without values counted.
        directory : path or URL, optional
            Where the data set and the model live. A fit that was stopped there goes on from its last checkpoint when it is
            called again, in any process. Without it they live in a temporary folder, as long as this object does.

        Returns
        -------
        self
        """
        del y
        columns = [column for column in (user, product, value, time, context, event) if column is not None]
        if hasattr(interactions, "tocoo") and value is None:
            columns.insert(2, value := "value")
        keys = {
            "user": user,
            "product": product,
            "time": time,
            "value": value,
            "context": context,
            "event": event,
            "event_weights": event_weights,
            "time_bin": time_bin,
            "duplicates": duplicates or (None if value is None else "sum"),
        }
        home = self._home_for(directory)
        job = self._new_job({name: key for name, key in keys.items() if key is not None}, home)
        progress = Progress(self.progress)
        try:
            with _data.source(interactions, columns, self.memory, progress) as source:
                _job.put(job, "input.files", source.files)
                report = self._perform("run", job, {}, progress, source)
        finally:
            progress.close()
        del job["input"]["files"]
        self._fitted_job = job
        self._heed(report)
        return self

    def _home_for(self, directory: str | Path | None) -> str:
        if directory is not None:
            return _data._path(directory)
        # A temporary place that was begun and not finished is gone on with: it holds the checkpoints.
        begun = vars(self).get("_temporary")
        if begun is None or self.__sklearn_is_fitted__():
            self._temporary = tempfile.TemporaryDirectory(prefix="strata-model-")
        return str(self._temporary.name)

    def _new_job(self, columns: Mapping[str, Any], home: str) -> _job.Job:
        job: _job.Job = {"input": dict(columns), "split": dict(self.split or {}), "model": dict(self._fixed)}
        for name, value in self.get_params().items():
            if value is None or name in ("split", "settings", "progress"):
                continue
            _job.put(job, _RUN.get(name, f"model.{name}"), value)
        _job.put_all(job, self.settings or {})
        _job.put(job, "output.data", f"{home}/data")
        _job.put(job, "output.model", f"{home}/model")
        return job

    def _perform(
        self,
        verb: str,
        job: _job.Job,
        more: Mapping[str, Any],
        progress: Progress | None = None,
        source: _data.Source | None = None,
        at: str | None = None,
    ) -> dict[str, Any]:
        """Run a verb of the command line with this job and further keys."""
        job = _job.copy(job)
        for path, value in {**more, **self._elsewhere}.items():
            _job.put(job, path, value)
        hear = progress or Progress(self.progress)
        try:
            report: dict[str, Any] = json.loads(_engine.perform(verb, _job.toml(job), "", hear, at))
        except StrataError as error:
            if source is not None:
                error.args = (source.plain(str(error)), *error.args[1:])
            raise
        finally:
            hear.close()
        return report

    def _heed(self, report: Mapping[str, Any]) -> None:
        self._digest: str = report["digest"]
        # The epochs of this process; those before a checkpoint that it went on from stand in the curve.
        here: list[dict[str, Any]] = [
            {
                "epoch": epoch["epoch"],
                "objective": epoch["objective"],
                "seconds": epoch["seconds"],
                **epoch["metrics"],
            }
            for epoch in report["epochs"]
        ]
        curve = report.get("curve")
        self._history = (_lines(Path(curve)) if curve else None) or here
        for warning in report.get("warnings", []):
            warnings.warn(warning, stacklevel=3)

    def _job_of_model(self) -> _job.Job:
        if not self.__sklearn_is_fitted__():
            raise NotFittedError(f"this {type(self).__name__} is not fitted: call fit() or load() a saved one")
        return self._fitted_job

    def _ask(self, verb: str, more: Mapping[str, Any]) -> dict[str, Any]:
        return self._perform(verb, self._job_of_model(), more)

    def _lists(self, verb: str, section: str, more: Mapping[str, Any]) -> Table:
        self._job_of_model()
        with tempfile.TemporaryDirectory(prefix="strata-lists-") as folder:
            file = f"{folder}/lists.parquet"
            keys = {f"output.{section}.{key}": value for key, value in more.items()}
            report = self._ask(verb, {**keys, f"output.{section}.file": file})
            # Of the run, and of files that go with the folder.
            beside = ("verb", "version", "seconds", "peak_anonymous_bytes", "file", "files", "warnings")
            return Table(_engine.Table.read(file), {key: fact for key, fact in report.items() if key not in beside})

    # --- what a fitted model is asked

    @property
    def digest(self) -> str:
        """BLAKE3 over all factors: equal for equal models, on any machine and whoever trained them."""
        self._job_of_model()
        return self._digest

    @property
    def history(self) -> list[dict[str, Any]]:
        """The learning curve: an entry an epoch with ``epoch``, ``objective``, ``seconds`` and the metrics that were measured."""
        self._job_of_model()
        return self._history

    def recommend(
        self,
        users: Any = None,
        k: int = 20,
        exclude_seen: bool = True,
        *,
        context: str | None = None,
        bins_ahead: int | None = None,
    ) -> Table:
        """The best products for users.

        Parameters
        ----------
        users : id or iterable of ids, optional
            Whom for; everybody without it.
        k : int
            Products for each.
        exclude_seen : bool
            Whether products that a user has had are left out.
        context, bins_ahead : optional
            The context and the bin behind the end of the data for which the lists are, where the model tells them apart.

        Returns
        -------
        Table
            The user, ``rank`` from 1, the product and the ``score``: at most k rows a user.
        """
        keys = {
            "top": k,
            "seen": "exclude" if exclude_seen else "include",
            "users": None if users is None else _data.ids_of(users, "user"),
            "context": context,
            "bins_ahead": bins_ahead,
        }
        return self._lists("recommend", "recommend", keys)

    def similar_products(self, ids: Any = None, k: int = 20) -> Table:
        """Products that are like each of these, or like each of all: the id, ``rank``, the like one and the cosine of their factors."""
        return self._similar("product", ids, k)

    def similar_users(self, ids: Any = None, k: int = 20) -> Table:
        """Users who are like each of these, or like each of all: the id, ``rank``, the like one and the cosine of their factors."""
        return self._similar("user", ids, k)

    def _similar(self, of: str, ids: Any, k: int) -> Table:
        named = None if ids is None else _data.ids_of(ids, of)
        return self._lists("similar", "similar", {"of": of, "top": k, "ids": named})

    def segments(self, k: int | Sequence[int] = (4, 8, 16), *, of: str = "user") -> Table:
        """Users, or products, brought together by their factors.

        Parameters
        ----------
        k : int or sequence of int
            How many segments; of several counts the one with the highest mean silhouette.
        of : str
            ``"user"`` or ``"product"``.

        Returns
        -------
        Table
            The id, ``segment``, ``distance`` to its centre, ``silhouette``. Its ``facts["segments"]`` says of each how large it is, what
            is bought there (``popular``) and what beyond its share (``own``): ``docs/segments.md``.
        """
        counts = [k] if isinstance(k, int) else list(k)
        return self._lists("segments", "segments", {"of": of, "k": counts})

    def factors(self, mode: str = "user") -> Table:
        """The factors of a mode.

        Parameters
        ----------
        mode : str
            ``"user"`` or ``"product"``; of a tensor also ``"time"`` or ``"context"``.

        Returns
        -------
        Table
            The id and ``factors``, a list of r f32 numbers: ``model.factors("user")["factors"]`` has the shape (users, r).
        """
        self._job_of_model()
        with tempfile.TemporaryDirectory(prefix="strata-factors-") as folder:
            report = self._ask("export", {"output.export.folder": folder, "output.export.format": "parquet"})
            written = report["tables"]
            if mode not in written:
                raise SettingsError(f"the model has no factors of the mode {mode}: it has {', '.join(written)}")
            return Table(_engine.Table.read(written[mode]["files"][0]))

    def evaluate(self, k: int | Sequence[int] | None = None, *, replicates: int | None = None) -> dict[str, Any]:
        """Measure the model on what was held out (``split``), beside plain baselines.

        Parameters
        ----------
        k : int or list of int, optional
            Lengths of lists.
        replicates : int, optional
            Of the bootstrap over users; 0: no intervals.

        Returns
        -------
        dict
            ``result["tasks"]["new_products"]["model"]["recall@20"]`` and so on (``docs/json.md``); of values ``rmse`` and ``mae``.
        """
        counts = [k] if isinstance(k, int) else k
        return self._ask("evaluate", {"evaluate.k": counts, "evaluate.replicates": replicates})

    def report(self, file: str | Path) -> Path:
        """Write the report, one HTML page to look at, and give its path."""
        path = Path(file).absolute()
        self._ask("report", {"output.report.file": str(path)})
        return path

    # --- new interactions

    def update(self: Self, interactions: Any, *, epochs: int = 1) -> Self:
        """Add interactions to the data set, of the columns that it was made of, and train on for some epochs."""
        return self._update(interactions, {"update.epochs": epochs})

    def fold_in(self: Self, interactions: Any) -> Self:
        """Add interactions to the data set and solve the users who have them, new ones and known ones; nobody else moves (ALS).

        ``recommend(users=...)`` then serves them.
        """
        return self._update(interactions, {"update.fold_in": True})

    def _update(self: Self, interactions: Any, how: Mapping[str, Any]) -> Self:
        job = self._job_of_model()
        given = job["input"]
        names = (given.get(key) for key in ("user", "product", "value", "time", "context", "event"))
        columns = [name for name in names if name is not None]
        progress = Progress(self.progress)
        try:
            with _data.source(interactions, columns, self.memory, progress) as source:
                report = self._perform("update", job, {"update.files": source.files, **how}, progress, source)
        finally:
            progress.close()
        if report.get("train") is not None:
            self._heed(report["train"])
        return self

    # --- the model as a folder

    def save(self, path: str | Path) -> Path:
        """Write the model as a folder that the command line reads, too: ``job.toml``, ``data`` and ``model``.

        The folder must not be there yet, or be the ``directory`` that the model was fitted in. What lies under a URL stays
        there, and the job names it.
        """
        job = _job.copy(self._job_of_model())
        folder = Path(path).absolute()
        output = {name: job["output"][name] for name in ("data", "model")}
        made = not folder.exists()
        if not made and any(folder.iterdir()) and str(folder / "data") != output["data"]:
            raise SettingsError(f"{folder} is not empty: name a folder that is not there yet")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for name, place in output.items():
                if "://" not in place:
                    if place != str(folder / name):
                        shutil.copytree(place, folder / name)
                    output[name] = name
            job["output"] = output
            job.pop("run", None)
            text = _job.toml(job)
            unfinished = folder / ".job.toml.part"
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(folder / "job.toml")
        except BaseException:
            if made:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder

    def _load(self, job: _job.Job) -> None:
        place = job["output"]["model"]
        found = self._perform("inspect", {}, {}, at=place)
        if "model" not in found:
            raise NotFittedError(f"{place} holds no finished model: run `coordinator run` with its job, or fit() there")
        self._fitted_job = job
        self._digest = found["model"]["digest"]
        self._history = _curve(place)


def _curve(place: str) -> list[dict[str, Any]]:
    """The learning curve that was written last beside a local model."""
    curves = list(Path(place).glob("curves/*.jsonl")) if "://" not in place else []
    if not curves:
        return []
    return _lines(max(curves, key=lambda path: (path.stat().st_mtime_ns, path.name)))


def _lines(curve: Path) -> list[dict[str, Any]]:
    """The epochs of a learning curve; none where it lies under a URL."""
    if not curve.is_file():
        return []
    return [json.loads(line) for line in curve.read_text(encoding="utf-8").splitlines()]
