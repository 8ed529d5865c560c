"""Errors, signals, scikit-learn's manners, the console script."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.utils import estimator_checks

import strata


def quick(**more: object) -> strata.ALS:
    return strata.ALS(rank=3, epochs=1, progress=False, **more)  # type: ignore[arg-type]


def test_bad_input_is_told_in_sentences(file: Path, table: pa.Table, tmp_path: Path) -> None:
    with pytest.raises(strata.DataError, match=r"interactions has no column `usr` .*it has .*user") as told:
        quick().fit(table, user="usr")
    assert told.value.exit_code == 65 and isinstance(told.value, ValueError)
    with pytest.raises(strata.DataError, match=r"has no column `usr`"):
        quick().fit(file, user="usr")
    with pytest.raises(strata.DataError, match=r"column `pieces` .* of interactions is .*must be an integer, text or binary"):
        quick().fit(table, user="pieces")
    with pytest.raises(strata.DataError, match="interactions are a dict: give a Parquet file"):
        quick().fit({"user": [1]})
    with pytest.raises(strata.UnavailableError, match="nowhere.parquet"):
        quick().fit(tmp_path / "nowhere.parquet")
    with pytest.raises(strata.SettingsError, match="`model.rank` must be a whole number from 1 to 512, not 0"):
        strata.ALS(rank=0).fit(file)
    with pytest.raises(strata.SettingsError, match="there is no .*rnk|rnk"):
        quick(settings={"model.rnk": 3}).fit(file)
    with pytest.raises(strata.SettingsError, match="has no parameter rnk"):
        quick().set_params(rnk=3)
    with pytest.raises(strata.SettingsError, match="`model.seed` is of the type object: give text"):
        quick(settings={"model.seed": object()}).fit(file)
    with pytest.raises(strata.NotFittedError, match="is not fitted"):
        quick().recommend()


def test_one_place_holds_one_data_set(file: Path, table: pa.Table, tmp_path: Path) -> None:
    first = quick().fit(table, directory=tmp_path / "place")
    again = quick().fit(table, directory=tmp_path / "place")
    assert first.digest == again.digest
    with pytest.raises(strata.SettingsError, match="holds the data set of another input"):
        quick().fit(table.slice(0, 100), directory=tmp_path / "place")
    assert again.save(tmp_path / "place") == tmp_path / "place"
    assert strata.load(tmp_path / "place").digest == first.digest


def test_a_stream_that_fails_is_an_exception(table: pa.Table) -> None:
    def batches():  # type: ignore[no-untyped-def]
        yield table.to_batches()[0]
        raise RuntimeError("the wire was cut")

    with pytest.raises(strata.StrataError, match="the wire was cut"):
        quick().fit(pa.RecordBatchReader.from_batches(table.schema, batches()))


PROGRAM = """
import sys, time, strata
model = strata.ALS(rank=64, epochs=100000, progress=False, settings={"run.checkpoint_percent": 100})
print("begins", flush=True)
try:
    model.fit(sys.argv[1], directory=sys.argv[2])
except KeyboardInterrupt as stop:
    print("stopped", stop, flush=True)
"""


def test_ctrl_c_stops_and_keeps_what_was_committed(file: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    child = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(file), str(place)], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    manifests = place / "model" / "manifests"
    while not manifests.is_dir() or len(list(manifests.iterdir())) < 4:
        assert child.poll() is None
        time.sleep(0.02)
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=60)
    # Within a second on a machine that does nothing else; tests share theirs.
    assert time.monotonic() - began < 5
    assert "stopped stopped on request: give the same command again" in said and child.returncode == 0
    # Nothing that was committed went, and nothing half-written lies beside it.
    assert len(list(manifests.iterdir())) >= 4
    assert not [each for each in place.rglob("*.part")]


def test_an_interrupted_fit_goes_on(file: Path, tmp_path: Path) -> None:
    model = strata.ALS(rank=4, epochs=40, progress=False, settings={"run.checkpoint_percent": 100})
    expected = strata.ALS(rank=4, epochs=40, progress=False).fit(file).digest
    seen: list[int] = []

    class Stopper:
        def __init__(self, shown: object) -> None: ...
        def close(self) -> None: ...
        def __call__(self, what: str, *told: object) -> None:
            if what == "epoch":
                seen.append(int(str(told[0])))
                if told[0] == 3:
                    raise KeyboardInterrupt

    from strata import _recommender

    kept, _recommender.Progress = _recommender.Progress, Stopper  # type: ignore[assignment,misc]
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(file)
        assert not model.__sklearn_is_fitted__()
    finally:
        _recommender.Progress = kept  # type: ignore[misc]
    model.fit(file)
    assert model.digest == expected
    # The whole curve, whichever process and call trained an epoch.
    assert [each["epoch"] for each in model.history] == list(range(1, 41))


def test_the_gil_is_free_while_it_works(file: Path) -> None:
    ticks = 0
    over = threading.Event()

    def count() -> None:
        nonlocal ticks
        while not over.is_set():
            ticks += 1
            time.sleep(0.001)

    counter = threading.Thread(target=count)
    counter.start()
    began = time.monotonic()
    strata.ALS(rank=32, epochs=30, progress=False).fit(file)
    seconds = time.monotonic() - began
    over.set()
    counter.join()
    assert ticks > 20 * seconds


def test_fits_side_by_side(file: Path, model: strata.ALS) -> None:
    found: list[str] = []
    fits = [
        threading.Thread(
            target=lambda: found.append(strata.ALS(rank=6, epochs=3, seed=3, progress=False).fit(file, time="day").digest)
        )
        for _ in range(3)
    ]
    for fit in fits:
        fit.start()
    for fit in fits:
        fit.join()
    assert found == [model.digest] * 3


def test_progress_is_told(file: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    caplog.set_level("INFO", "strata")
    strata.ALS(rank=3, epochs=2, progress=True).fit(file)
    assert "epoch 2/2" in caplog.text and "train" in capsys.readouterr().err
    strata.ALS(rank=3, epochs=2, progress=False).fit(file)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", [strata.ALS, strata.TensorALS, strata.SGD, strata.LightGCN, strata.GCN, strata.GraphFilter])
@pytest.mark.parametrize(
    "check",
    [
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_get_params_invariance",
        "check_no_attributes_set_in_init",
        "check_parameters_default_constructible",
        "check_set_params",
    ],
)
def test_checks_of_scikit_learn(kind: type[strata.Recommender], check: str) -> None:
    getattr(estimator_checks, check)(kind.__name__, kind())


def test_clones_and_copies(model: strata.ALS) -> None:
    copy = clone(model)
    assert copy.get_params() == model.get_params() and not copy.__sklearn_is_fitted__()
    assert pickle.loads(pickle.dumps(copy)).get_params() == copy.get_params()
    with pytest.raises(strata.StrataError, match=r"save\(\) it"):
        pickle.dumps(model)
    assert repr(strata.ALS(8, seed=1)) == "ALS(rank=8, seed=1)"


def test_the_console_script_is_the_command_line(coordinator, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    binary = os.environ["COORDINATOR"]

    def said(program: list[str], *arguments: str) -> tuple[int, str, str]:
        done = subprocess.run([*program, *arguments], capture_output=True, text=True, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr

    ours = [sys.executable, "-m", "strata"]
    for arguments in (["--version"], ["config", "--describe"], ["nonsense"], ["--json", "inspect", "nowhere"]):
        assert said(ours, *arguments) == said([binary], *arguments)


def test_numbers_of_numpy_are_settings(file: Path) -> None:
    model = strata.ALS(rank=np.int64(3), epochs=np.int32(1), regularization=np.float64(0.01), progress=False)
    assert model.fit(file).factors()["factors"].shape[1] == 3
