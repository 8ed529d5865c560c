"""Models in MLflow, by its own server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import strata

mlflow = pytest.importorskip("mlflow")
import strata.mlflow as tracking  # noqa: E402


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server with a database and a place for artifacts of its own."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(folder / "artifacts")]
    log = (folder / "log").open("wb")
    # Nobody but the test hears of it.
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=quiet, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                with urllib.request.urlopen(f"{uri}/health", timeout=1):
                    break
            except OSError:
                time.sleep(0.1)
        else:
            raise AssertionError((folder / "log").read_text())
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment("shop")
        yield uri
    finally:
        mlflow.set_tracking_uri(None)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()


@pytest.fixture(scope="module")
def measured(file: Path) -> strata.ALS:
    split = {"validation_bins": 2, "test_bins": 2}
    model = strata.ALS(rank=6, epochs=3, seed=3, split=split, settings={"model.cg_steps": 2, "model.solver": "cg"}, progress=False)
    return model.fit(file, time="day")


@pytest.fixture(scope="module")
def run(server: str, measured: strata.ALS) -> Any:
    """One run that all tests look at."""
    with mlflow.start_run() as active:
        assert tracking.log_run(measured) == active.info.run_id
    return mlflow.get_run(active.info.run_id)


def test_parameters_are_the_jobs(run: Any, measured: strata.ALS) -> None:
    found = run.data.params
    assert found["model.rank"] == "6" and found["model.kind"] == "als" and found["model.cg_steps"] == "2"
    assert found["split.test_bins"] == "2" and found["input.time"] == "day"
    assert not any(key.startswith(("output.", "run.")) for key in found)
    assert run.data.tags["strata.digest"] == measured.digest and run.data.tags["strata.model"] == "ALS"


def test_metrics_are_those_of_every_epoch(server: str, run: Any, measured: strata.ALS) -> None:
    client = mlflow.MlflowClient()
    for ours, theirs in (
        ("objective", "train/objective"),
        ("new_products ndcg@20", "validation/new_products/ndcg_at_20"),
    ):
        found = client.get_metric_history(run.info.run_id, theirs)
        assert [(each.step, each.value) for each in found] == [(epoch["epoch"], epoch[ours]) for epoch in measured.history]
    test = measured.evaluate(replicates=0)["tasks"]["all_products"]["model"]
    assert run.data.metrics["test/all_products/recall_at_20"] == test["recall@20"]


def test_artifacts_are_there(server: str, run: Any, measured: strata.ALS, tmp_path: Path) -> None:
    fetch = mlflow.artifacts.download_artifacts
    page = Path(fetch(run_id=run.info.run_id, artifact_path="report.html", dst_path=str(tmp_path))).read_text()
    assert "<html" in page[:200].lower()
    figures = json.loads(Path(fetch(run_id=run.info.run_id, artifact_path="evaluation.json", dst_path=str(tmp_path))).read_text())
    assert "popularity" in figures["tasks"]["new_products"]


def uri_of(run: Any) -> str:
    [logged] = mlflow.search_logged_models(filter_string=f"source_run_id='{run.info.run_id}'", output_format="list")
    return str(logged.model_uri)


def test_the_logged_model_recommends(server: str, run: Any, measured: strata.ALS) -> None:
    served = mlflow.pyfunc.load_model(uri_of(run))
    frame = pd.DataFrame({"user": [7, 3, 7]})
    found = served.predict(frame)
    expected = measured.recommend([7, 3], k=20).to_pandas()
    pd.testing.assert_frame_equal(found, expected)
    some = served.predict(frame, params={"k": 2, "exclude_seen": False})
    pd.testing.assert_frame_equal(some, measured.recommend([7, 3], k=2, exclude_seen=False).to_pandas())
    with pytest.raises(Exception, match="user"):
        served.predict(pd.DataFrame({"customer": [7]}))
    with pytest.raises(strata.SettingsError, match="4711, which is no user"):
        served.predict(pd.DataFrame({"user": [4711]}))


def test_the_logged_model_comes_back(server: str, run: Any, measured: strata.ALS) -> None:
    loaded = tracking.load_model(uri_of(run))
    assert type(loaded) is strata.ALS and loaded.digest == measured.digest


def test_ids_may_be_text_and_runs_are_begun(server: str, file: Path) -> None:
    model = strata.ALS(rank=2, epochs=1, progress=False).fit(file, user="name")
    # Nothing is held out, so nothing is measured on it.
    run_id = tracking.log_run(model, report=False, name=None)
    assert mlflow.active_run() is None
    found = mlflow.get_run(run_id)
    assert found.info.status == "FINISHED"
    assert not any(key.startswith("test/") for key in found.data.metrics)
    info = tracking.log_model(model, registered_model_name="shop")
    served = mlflow.pyfunc.load_model("models:/shop/1")
    lists = served.predict(pd.DataFrame({"name": ["user-5"]}))
    assert list(lists.columns) == ["name", "rank", "product", "score"] and set(lists["name"]) == {"user-5"}
    assert info.model_uri


def test_the_page_tells_the_truth(server: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parent.parent / "python.md").read_text()
    code = page.split("## MLflow\n")[1].split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(file.parent)
    said: dict[str, Any] = {}
    exec(code, said)  # noqa: S102
    lists = said["served"].predict(pd.DataFrame({"user": [3]}), params={"k": 5, "exclude_seen": False})
    assert list(lists["product"]) == list(said["model"].recommend(3, k=5, exclude_seen=False)["product"])


def test_epochs_are_told_as_they_end(server: str, file: Path) -> None:
    client = mlflow.MlflowClient()
    with tracking.track() as active:
        run_id = active.info.run_id
        model = strata.ALS(rank=3, epochs=3, split={"validation_bins": 2}, progress=False).fit(file, time="day")
        # The engine has said all of it by now, and nobody has called log_run.
        told = client.get_metric_history(run_id, "train/objective")
        assert [(each.step, each.value) for each in told] == [(epoch["epoch"], epoch["objective"]) for epoch in model.history]
        tracking.log_run(model, report=False, name=None)
    for key in ("train/objective", "train/seconds", "validation/new_products/recall_at_20"):
        assert [each.step for each in client.get_metric_history(run_id, key)] == [1, 2, 3], key
    assert mlflow.get_run(run_id).info.status == "FINISHED"
    # Outside, nothing is logged.
    strata.ALS(rank=3, epochs=1, progress=False).fit(file)
    assert len(client.get_metric_history(run_id, "train/objective")) == 3


def test_a_server_that_is_away_does_not_end_a_fit(
    server: str, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise mlflow.exceptions.MlflowException("away")

    with tracking.track():
        monkeypatch.setattr(mlflow.MlflowClient, "log_batch", away)
        model = strata.ALS(rank=3, epochs=2, progress=False).fit(file)
    assert len(model.history) == 2
    assert [each.message for each in caplog.records if each.levelname == "WARNING" and each.name == "strata"] == [
        "MLflow was not told of epoch 1: away",
        "MLflow was not told of epoch 2: away",
    ]


def test_a_model_of_somebody_else_is_none_of_ours(server: str) -> None:
    class Other(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        def predict(self, context, model_input):  # type: ignore[no-untyped-def]
            return model_input

    info = mlflow.pyfunc.log_model(name="other", python_model=Other(), pip_requirements=["mlflow"])
    mlflow.end_run()
    with pytest.raises(strata.DataError, match="is no model of this package"):
        tracking.load_model(info.model_uri)


def test_models_that_are_not_fitted_are_refused(server: str) -> None:
    with pytest.raises(strata.NotFittedError):
        tracking.log_run(strata.ALS())
    assert mlflow.active_run() is None


def test_without_mlflow_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, measured: strata.ALS) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(strata.UnavailableError, match="pip install mlflow"):
        tracking.log_run(measured)
