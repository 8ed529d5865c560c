"""On a Ray cluster of several nodes, all of them on this machine: one digest, whoever dies."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster  # noqa: E402

import strata  # noqa: E402
import strata.ray  # noqa: E402
from cluster_tests.epochs import Epochs, small_disk  # noqa: E402

EPOCHS = 12
#: So that Ray takes no ten seconds to notice that a node is gone.
HEALTH = {"health_check_period_ms": 200, "health_check_timeout_ms": 500, "health_check_failure_threshold": 2}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": 0, "_system_config": HEALTH}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def als(epochs: int = 2, **more: Any) -> strata.ALS:
    return strata.ALS(rank=8, epochs=epochs, seed=3, split={"test_fraction": 0.1}, progress=False, **more)


def actors() -> list[dict[str, Any]]:
    """The living workers, as Ray's dashboard has them."""
    known = ray._private.state.actors().values()
    return [actor for actor in known if actor["State"] == "ALIVE" and "StrataWorker" in actor["ActorClassName"]]


def test_one_digest(cluster: Any, file: Path, tmp_path: Path, coordinator: Callable[..., dict[str, Any]]) -> None:
    text = f'[input]\nfiles = ["{file}"]\nuser = "user"\nproduct = "product"\ntime = "day"\n[split]\ntest_fraction = 0.1\n'
    text += '[model]\nkind = "als"\nrank = 8\nepochs = 2\nseed = 3\n'
    (tmp_path / "cli").mkdir()
    (tmp_path / "ray").mkdir()
    output = '[output]\ndata = "data"\nmodel = "model"\n'
    wanted = coordinator(tmp_path / "cli", "run", text + output)["digest"]
    job = tmp_path / "ray" / "job.toml"
    job.write_text(text + output)

    run = strata.ray.train(job, num_workers=3)
    assert run.digest == wanted and isinstance(run, strata.ALS)
    fitted = strata.ray.train(als(), file, time="day", num_workers=2, resources_per_worker={"CPU": 2, "memory": 2**30})
    assert fitted.digest == wanted
    # What it is asked later is done here, or there again.
    here = fitted.recommend(k=5)["score"]
    with strata.ray.workers(fitted, num_workers=2) as there:
        assert len(actors()) == 2
        assert (there.recommend(k=5)["score"] == here).all()
    assert "_elsewhere" not in vars(fitted)
    assert not actors()


def in_the_dashboard(cluster: Any, what: str, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """What Ray's dashboard has of actors, tasks or placement groups, once it is enough: it learns of them by and by."""
    until = time.monotonic() + 60
    while True:
        url = f"http://{cluster.webui_url}/api/v0/{what}?detail=true&limit=1000&timeout=30"
        with urllib.request.urlopen(url, timeout=60) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]["result"]
        if enough(found) or time.monotonic() > until:
            return found
        time.sleep(0.2)


def test_the_dashboard_names_workers_and_epochs(cluster: Any, file: Path) -> None:
    def alive(found: list[dict[str, Any]]) -> list[str]:
        return sorted(each["name"] for each in found if each["class_name"] == "StrataWorker" and each["state"] == "ALIVE")

    workers: list[str] = []

    def at(epoch: int) -> None:
        # The call cannot end before this does.
        if not workers:
            workers.extend(alive(in_the_dashboard(cluster, "actors", lambda found: len(alive(found)) == 2)))

    with Epochs(at):
        strata.ray.train(als(), file, time="day", num_workers=2)
    call = workers[0].rpartition("-worker-")[0]
    assert call.startswith("strata-") and workers == [f"{call}-worker-0", f"{call}-worker-1"]

    def told(found: list[dict[str, Any]]) -> list[str]:
        return [task["name"] for task in found if task["func_or_class_name"] == "StrataWorker.told"]

    tasks = told(in_the_dashboard(cluster, "tasks", lambda found: any(name.startswith("epoch 1, objective ") for name in told(found))))
    assert any(name.startswith("epoch 1, objective ") for name in tasks), tasks
    groups = [group["name"] for group in in_the_dashboard(cluster, "placement_groups", lambda found: True)]
    assert call in groups


def test_a_full_disk(cluster: Any, file: Path, tmp_path: Path) -> None:
    wanted = als().fit(file, time="day").digest
    with small_disk(tmp_path / "small", "160k") as small:
        tight = cluster.add_node(num_cpus=1, resources={"tight": 1, "full": 1}, env_vars={"TMPDIR": str(small)})
        wide = cluster.add_node(num_cpus=1, resources={"tight": 1})
        try:
            # What one of two has no room for, the other does.
            fitted = strata.ray.train(als(), file, time="day", num_workers=2, resources_per_worker={"CPU": 1, "tight": 1})
            assert fitted.digest == wanted
            # One alone says so.
            with pytest.raises(strata.TryAgainError, match="no space is left for .*: free some, or choose another directory"):
                strata.ray.train(als(), file, time="day", num_workers=1, resources_per_worker={"CPU": 1, "full": 1})
        finally:
            for node in (tight, wide):
                cluster.remove_node(node)


def test_a_data_set_of_ray(cluster: Any, table: pa.Table, model: strata.ALS) -> None:
    import ray.data

    made = strata.ALS(rank=6, epochs=3, seed=3, progress=False)
    fitted = strata.ray.train(made, ray.data.from_arrow(table), time="day", num_workers=1)
    assert fitted.digest == model.digest


def test_whoever_dies(cluster: Any, file: Path) -> None:
    wanted = als(EPOCHS).fit(file, time="day").digest
    spot: dict[str, Any] = {"num_cpus": 1, "resources": {"spot": 1}}
    nodes = [cluster.add_node(**spot) for _ in range(2)]
    done: list[str] = []

    def at(epoch: int) -> None:
        if epoch >= 3 and not done:
            # All workers at once, so that the job cannot end without those that come back: one with its whole node, kill -9 of
            # everything on it, and one alone. A node in its place comes later.
            done.append("killed")
            cluster.remove_node(nodes[0], allow_graceful=False)
            alone = next(actor for actor in actors() if actor["Address"]["NodeID"] == nodes[1].node_id)
            os.kill(alone["Pid"], signal.SIGKILL)
            cluster.add_node(**spot)
        elif epoch >= EPOCHS // 2 and len(done) == 1:
            # Of a daemon alone, its actor makes another. An actor that has just come has none yet: another epoch, then.
            daemons = [daemon for actor in actors() for daemon in daemons_of(actor["Pid"])]
            for daemon in daemons:
                os.kill(daemon, signal.SIGKILL)
            done.extend(["killed again"] if daemons else [])

    with Epochs(at) as heard:
        fitted = strata.ray.train(
            als(EPOCHS),
            file,
            time="day",
            num_workers=2,
            resources_per_worker={"CPU": 1, "spot": 1},
        )
    assert fitted.digest == wanted
    assert done == ["killed", "killed again"]
    assert len([line for line in heard.lines if "is lost: the worker at" in line]) >= 3, heard.lines


def daemons_of(actor: int) -> list[int]:
    """The daemon beside an actor, once it is there."""
    try:
        tasks = list(Path(f"/proc/{actor}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
        return [child for child in children if b"strata.worker" in Path(f"/proc/{child}/cmdline").read_bytes()]
    except OSError:
        # One of them is gone.
        return []


def test_one_sentence(cluster: Any, file: Path) -> None:
    with pytest.raises(strata.UnavailableError, match=r"no room for 9 workers of .*'CPU': 1.* within 1 seconds: all its nodes have {'CPU': [0-9.]+}"):
        strata.ray.train(als(), file, num_workers=9, timeout=1)
    with pytest.raises(strata.UnavailableError, match=r"does not start \(exit code 78\): worker: --memory 1 MiB is too"):
        strata.ray.train(als(memory="1MiB"), file, num_workers=1)
    with pytest.raises(strata.SettingsError, match="`num_workers` is 0"):
        strata.ray.train(als(), file, num_workers=0)
    with pytest.raises(strata.SettingsError, match="trained on interactions: give them"):
        strata.ray.train(als(), num_workers=1)
    with pytest.raises(strata.SettingsError, match="names its own interactions"):
        strata.ray.train("job.toml", file, num_workers=1)
    with pytest.raises(strata.UnavailableError, match="job.toml is not there"):
        strata.ray.train("job.toml", num_workers=1)
    with pytest.raises(strata.DataError, match="no column `usr`"):
        strata.ray.train(als(), file, user="usr", num_workers=1)
