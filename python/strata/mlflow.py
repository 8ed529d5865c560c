"""A fitted model in MLflow: parameters, the learning curve, what was measured, the report, and the model itself, which recommends there.

Nothing is written unless one of these functions is called. ``pip install mlflow`` brings the client; where runs go is MLflow's to know
(``MLFLOW_TRACKING_URI``, ``mlflow.set_tracking_uri``).

    import strata, strata.mlflow

    with strata.mlflow.track():
        model = strata.ALS(rank=64, split={"test_bins": 4}).fit("purchases.parquet", time="day")
        strata.mlflow.log_run(model)
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from strata import _engine, _progress
from strata._recommender import Recommender
from strata.errors import DataError, UnavailableError
from strata.models import load

__all__ = ["load_model", "log_model", "log_run", "track"]

#: Where places and machines stand in a job: they say nothing of the model.
_NOT_LOGGED = ("output.", "run.")


@contextlib.contextmanager
def track() -> Iterator[Any]:
    """Every epoch of the fits within goes to the active run, or to a new one, when it ends: who looks sees a long fit go on.

    A server that cannot be reached costs epochs there, and a line of the logger ``strata``, but not the fit. ``log_run`` then adds
    what is missing. Of two fits within one run, epochs of the same number stand side by side: give each a run.
    """
    mlflow = _client()
    with _run(mlflow) as run:
        client = mlflow.MlflowClient()

        def hear(epoch: int, objective: float | None, metrics: list[tuple[str, float]]) -> None:
            told = _figures({"epoch": epoch, "objective": objective, **dict(metrics)})
            now = int(time.time() * 1000)
            try:
                client.log_batch(run.info.run_id, metrics=[mlflow.entities.Metric(key, value, now, epoch) for key, value in told])
            except (mlflow.exceptions.MlflowException, OSError) as error:
                _progress.log.warning("MLflow was not told of epoch %d: %s", epoch, error)

        _progress.EPOCHS.append(hear)
        try:
            yield run
        finally:
            _progress.EPOCHS.remove(hear)


def log_run(
    model: Recommender,
    *,
    evaluate: bool | None = None,
    report: bool = True,
    name: str | None = "model",
) -> str:
    """Log a fitted model to the active run, or to a new one where none is active.

    Parameters
    ----------
    model : Recommender
        A fitted one. Its job becomes parameters (``model.rank``, ``split.test_bins``, as ``docs/settings.md`` names them), its
        ``digest`` a tag, and ``history`` metrics by epoch: ``train/objective``, ``train/seconds``, and what was measured on the
        validation part, as ``validation/new_products/ndcg_at_20``.
    evaluate : bool, optional
        Whether the model is measured on the test part: metrics ``test/new_products/recall_at_20`` and so on, and all figures with
        their baselines as ``evaluation.json``. Without it: where ``split`` names a test part.
    report : bool
        Whether the report is made and put beside it as ``report.html``.
    name : str, optional
        The name of the logged model; None: the model itself is not logged.

    Returns
    -------
    str
        The id of the run.
    """
    mlflow = _client()
    given = dict(_flat(model._job_of_model()))
    if evaluate is None:
        evaluate = any(key.startswith("split.test_") for key in given)
    with _run(mlflow) as run:
        run_id: str = run.info.run_id
        mlflow.log_params({key: value for key, value in given.items() if not key.startswith(_NOT_LOGGED)})
        mlflow.set_tags({"strata.digest": model.digest, "strata.version": _engine.__version__, "strata.model": type(model).__name__})
        _log_history(mlflow, run_id, model)
        if evaluate:
            found = model.evaluate()
            mlflow.log_metrics(dict(_evaluation(found)))
            mlflow.log_dict(found, "evaluation.json")
        if report:
            with tempfile.TemporaryDirectory(prefix="strata-report-") as folder:
                mlflow.log_artifact(str(model.report(Path(folder) / "report.html")))
        if name is not None:
            log_model(model, name)
    return run_id


def log_model(model: Recommender, name: str = "model", **more: Any) -> Any:
    """Log a fitted model alone, as one of MLflow's ``python_function`` flavour.

    ``mlflow.pyfunc.load_model(uri).predict(frame)`` then takes a data frame with the column of users, and gives for each of them the
    rows of :meth:`Recommender.recommend`; ``params={"k": 10, "exclude_seen": False}`` are its parameters. What is logged is the folder
    that :meth:`Recommender.save` writes, the data set included, since lists leave out what users have had; of a model that was
    fitted in a ``directory`` with a URL it is only the job, which names it.

    Parameters
    ----------
    model : Recommender
        A fitted one.
    name : str
        Its name.
    **more
        Passed on to ``mlflow.pyfunc.log_model``, as in ``registered_model_name="shop"``. ``pip_requirements`` must name the wheel of
        this package where MLflow shall build the environment: without it they name only what else is needed, for a machine that has
        this package.

    Returns
    -------
    mlflow.models.model.ModelInfo
        With ``model_uri``.
    """
    mlflow = _client()
    types = mlflow.types.schema
    # An id may be of any type.
    users = types.Schema([types.ColSpec(types.AnyType(), _column(model))])
    params = types.ParamSchema([types.ParamSpec("k", "long", 20), types.ParamSpec("exclude_seen", "boolean", True)])
    more.setdefault("signature", mlflow.models.ModelSignature(inputs=users, params=params))
    more.setdefault("pip_requirements", [f"{each}=={metadata.version(each)}" for each in ("mlflow", "pandas", "pyarrow")])
    with tempfile.TemporaryDirectory(prefix="strata-logged-") as folder:
        saved = model.save(Path(folder) / "strata")
        return mlflow.pyfunc.log_model(name=name, loader_module=__name__, data_path=str(saved), **more)


def load_model(uri: str) -> Recommender:
    """A logged model as one of this package: ``strata.mlflow.load_model("models:/shop/3")``."""
    mlflow = _client()
    folder = mlflow.artifacts.download_artifacts(artifact_uri=uri)
    flavour = mlflow.models.Model.load(folder).flavors.get("python_function", {})
    if flavour.get("loader_module") != __name__:
        raise DataError(f"{uri} is no model of this package: strata.mlflow.log_model() logs them")
    return load(os.path.join(folder, flavour["data"]), progress=False)


class _Recommends:
    """What ``mlflow.pyfunc.load_model`` wraps."""

    def __init__(self, model: Recommender) -> None:
        self.model = model

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        column = _column(self.model)
        if column not in getattr(model_input, "columns", ()):
            raise DataError(f"there is no column `{column}`: give a data frame with the users whom to recommend for")
        # Who stands in several rows has one list.
        users = list(dict.fromkeys(model_input[column]))
        wanted = dict(params or {})
        lists = self.model.recommend(users, k=int(wanted.get("k", 20)), exclude_seen=bool(wanted.get("exclude_seen", True)))
        return lists.to_pandas()


def _load_pyfunc(path: str) -> _Recommends:
    """MLflow calls this with the folder that was saved."""
    return _Recommends(load(path, progress=False))


def _column(model: Recommender) -> str:
    column: str = model._job_of_model()["input"].get("user", "user")
    return column


def _client() -> Any:
    try:
        import mlflow
        import mlflow.pyfunc
        import mlflow.types
    except ImportError:
        raise UnavailableError("MLflow is not installed: pip install mlflow") from None
    return mlflow


@contextlib.contextmanager
def _run(mlflow: Any) -> Iterator[Any]:
    active = mlflow.active_run()
    if active is not None:
        yield active
        return
    with mlflow.start_run() as run:
        yield run


def _log_history(mlflow: Any, run_id: str, model: Recommender) -> None:
    """The epochs that the run does not have yet."""
    client = mlflow.MlflowClient()
    now = int(time.time() * 1000)
    figures = [(epoch["epoch"], key, value) for epoch in model.history for key, value in _figures(epoch)]
    known = {(each.step, key) for key in {key for _, key, _ in figures} for each in client.get_metric_history(run_id, key)}
    missing = [mlflow.entities.Metric(key, value, now, step) for step, key, value in figures if (step, key) not in known]
    if missing:
        client.log_batch(run_id, metrics=missing)


def _flat(section: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _figures(epoch: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """What an epoch told, by the names of metrics."""
    for key, value in epoch.items():
        if key == "epoch" or value is None or not math.isfinite(value):
            continue
        part = "train" if key in ("objective", "seconds") else "validation"
        yield f"{part}/{_allowed(key)}", float(value)


def _evaluation(found: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The model's own figures of an evaluation; those beside it stand in the file."""
    part = found["part"]
    for key in ("rmse", "mae"):
        if found.get(key) is not None:
            yield f"{part}/{key}", float(found[key])
    for task, rankers in found.get("tasks", {}).items():
        for key, value in rankers["model"].items():
            yield f"{part}/{task}/{_allowed(key)}", float(value)


def _allowed(name: str) -> str:
    """MLflow allows no @ in names."""
    return name.replace("@", "_at_").replace(" ", "/")
