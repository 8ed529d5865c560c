"""On Ray: the workers of a call are actors of a cluster that is there already, and the coordinator is in this process.

    import strata, strata.ray
    model = strata.ray.train(strata.ALS(rank=64), "purchases.parquet", num_workers=8, resources_per_worker={"CPU": 4})

Ray places the actors, starts them anew and shows them; the factorization goes on meanwhile, and its digest is that of any other run of
the job.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from strata import _jobs, _node, _progress
from strata._recommender import Recommender
from strata._roster import Invitation, Roster
from strata.errors import SettingsError, UnavailableError

__all__ = ["train", "workers"]

Model = TypeVar("Model", bound=Recommender)

#: What of an actor's memory the engine may fill; the rest is for the programs themselves.
_FILLED = 0.75
#: Epochs are told so often at most, in seconds.
_TOLD_EVERY = 1.0


class StrataWorker:
    """One worker: an actor that keeps a daemon beside it."""

    def __init__(self, invitation: Invitation) -> None:
        self._invitation = invitation

    def serve(self) -> None:
        """Work until the driver lets go."""
        _node.serve(self._invitation, ray.util.get_node_ip_address())

    def told(self, line: str) -> None:
        """Have a line in the log of this worker."""
        print(f"strata: {line}", file=sys.stderr, flush=True)


@contextmanager
def workers(
    model: Model,
    *,
    num_workers: int,
    resources_per_worker: Mapping[str, float] | None = None,
    placement_strategy: str = "SPREAD",
    max_restarts: int = -1,
    timeout: float = 300.0,
) -> Iterator[Model]:
    """Have actors do whatever the model is asked within: ``fit``, ``recommend``, ``evaluate``, ``update``.

    Parameters
    ----------
    model : Recommender
        A model, fitted or not. Its ``memory`` is that of each worker, too, and its ``threads`` are theirs alone.
    num_workers : int
        Actors, one a bundle of a placement group.
    resources_per_worker : dict, optional
        The bundle of each: ``{"CPU": 4, "memory": 16 * 2**30}``. Without the model's say a worker has a thread a CPU, and fills three
        quarters of ``memory`` (2 GiB where that is not named). One CPU without it.
    placement_strategy : str
        That of the placement group.
    max_restarts : int
        How often Ray starts an actor anew; -1: always.
    timeout : float
        How long the cluster may take to make room, in seconds.

    Examples
    --------
    >>> with strata.ray.workers(model, num_workers=8) as model:  # doctest: +SKIP
    ...     lists = model.recommend(k=20)
    """
    with _started(
        num_workers,
        dict(resources_per_worker or {"CPU": 1}),
        (model.threads, model.memory),
        placement_strategy,
        max_restarts,
        timeout,
    ) as roster:
        with model._on(roster.settings):
            yield model


def train(
    job: Recommender | str | os.PathLike[str],
    interactions: Any = None,
    *,
    num_workers: int,
    resources_per_worker: Mapping[str, float] | None = None,
    placement_strategy: str = "SPREAD",
    max_restarts: int = -1,
    timeout: float = 300.0,
    **columns: Any,
) -> Recommender:
    """Train on a Ray cluster.

    Parameters
    ----------
    job : Recommender or path
        A model to fit to ``interactions``, or a job file of the command line, which names its own data and is run whole.
    interactions : optional
        Whatever ``fit`` takes, and a ``ray.data.Dataset``.
    num_workers, resources_per_worker, placement_strategy, max_restarts, timeout
        As of :func:`workers`.
    **columns
        As of ``fit``: ``user``, ``product``, ``time``, ``value``, ``directory`` and so on.

    Returns
    -------
    Recommender
        The fitted model. A killed actor, or a lost node, costs time only.
    """
    wanted: dict[str, Any] = {
        "num_workers": num_workers,
        "placement_strategy": placement_strategy,
        "max_restarts": max_restarts,
        "timeout": timeout,
    }
    if isinstance(job, Recommender):
        if interactions is None:
            raise SettingsError("a model is trained on interactions: give them, or a job file in place of the model")
        with workers(job, resources_per_worker=resources_per_worker, **wanted) as model:
            return model.fit(_read(interactions, columns), **columns)
    if interactions is not None or columns:
        raise SettingsError(f"the job {os.fspath(job)} names its own interactions: give none beside it")
    file = Path(job).absolute()
    given = _jobs.given(file)
    shared = (given.get("run.threads"), given.get("run.memory"))
    bundle = dict(resources_per_worker or {"CPU": 1})
    with _started(num_workers, bundle, shared, placement_strategy, max_restarts, timeout) as roster:
        return _jobs.run(file, given, roster.settings)


@contextmanager
def _started(
    num_workers: int,
    bundle: dict[str, float],
    given: tuple[Any, Any],
    strategy: str,
    max_restarts: int,
    timeout: float,
) -> Iterator[Roster]:
    if num_workers < 1:
        raise SettingsError(f"`num_workers` is {num_workers}: give 1 or more")
    if not ray.is_initialized():
        ray.init()
    threads, memory = given
    threads = threads or max(1, int(bundle.get("CPU", 1)))
    arguments = ["--threads", str(threads)]
    if memory is None and "memory" in bundle:
        memory = int(bundle["memory"] * _FILLED)
    if memory is not None:
        arguments += ["--memory", str(memory)]
    call = f"strata-{uuid.uuid4().hex[:6]}"
    group = placement_group([bundle] * num_workers, strategy=strategy, name=call)
    try:
        if not group.wait(timeout):
            has = {name: count for name, count in ray.cluster_resources().items() if name in bundle}
            raise UnavailableError(
                f"Ray has no room for {num_workers} workers of {bundle} each within {timeout:g} seconds: all its nodes have {has}"
            )
        with Roster(ray.util.get_node_ip_address(), arguments) as roster:
            serving = [
                _actor(bundle, group, number, max_restarts, f"{call}-worker-{number}").remote(roster.invitation)
                for number in range(num_workers)
            ]
            running = [actor.serve.remote() for actor in serving]
            if not roster.wait(num_workers, timeout, lambda: _look(running)):
                there = len(roster.addresses())
                raise UnavailableError(f"of {num_workers} workers {there} have come within {timeout:g} seconds: see their logs in Ray")
            with _shown(serving[0]):
                yield roster
            roster.close()
            # They end by themselves, in good order.
            ray.wait(running, num_returns=num_workers, timeout=10)
    finally:
        remove_placement_group(group)


def _actor(bundle: Mapping[str, float], group: Any, number: int, max_restarts: int, name: str) -> Any:
    special = {kind: count for kind, count in bundle.items() if kind not in ("CPU", "GPU", "memory")}
    return ray.remote(StrataWorker).options(
        name=name,
        num_cpus=bundle.get("CPU", 0),
        num_gpus=bundle.get("GPU", 0),
        memory=bundle.get("memory"),
        resources=special,
        max_restarts=max_restarts,
        max_task_retries=max_restarts,
        # One serves as long as the call lasts, one hears lines beside it.
        max_concurrency=2,
        scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=number),
    )


@contextmanager
def _shown(worker: Any) -> Iterator[None]:
    """Have each epoch of the calling thread shown by Ray: as a task of this worker, named after it, and in its log."""
    caller, told = threading.get_ident(), float("-inf")

    def hear(epoch: int, objective: float | None, metrics: list[tuple[str, float]]) -> None:
        nonlocal told
        if threading.get_ident() != caller or time.monotonic() - told < _TOLD_EVERY:
            return
        told = time.monotonic()
        figures = [("objective", objective), *metrics] if objective is not None else metrics
        line = f"epoch {epoch}" + "".join(f", {name} {figure:.4g}" for name, figure in figures)
        # Nobody waits for it; one whose worker is gone is not shown.
        worker.told.options(name=line, max_task_retries=0).remote(line)

    _progress.EPOCHS.append(hear)
    try:
        yield
    finally:
        _progress.EPOCHS.remove(hear)


def _look(running: list[Any]) -> None:
    """Raise what a worker ended with that should not have ended yet."""
    ended, _ = ray.wait(running, timeout=0)
    if ended:
        try:
            ray.get(ended[0])
        except ray.exceptions.RayTaskError as error:
            raise UnavailableError(str(error.cause)) from error
        except ray.exceptions.RayError as error:
            raise UnavailableError(f"a worker does not start: {error}") from error


def _read(interactions: Any, columns: Mapping[str, Any]) -> Any:
    """A data set of Ray as the stream of its batches; all else as it is."""
    if not hasattr(interactions, "iter_batches"):
        return interactions
    import pyarrow as pa

    named = {"user": "user", "product": "product", **columns}
    kinds = ("user", "product", "value", "time", "context", "event")
    wanted = [named[kind] for kind in kinds if named.get(kind) is not None]
    chosen = interactions.select_columns(wanted)
    batches = (batch for table in chosen.iter_batches(batch_format="pyarrow", batch_size=None) for batch in table.to_batches())
    return pa.RecordBatchReader.from_batches(chosen.schema().base_schema, batches)
