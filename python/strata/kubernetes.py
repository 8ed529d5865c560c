"""A job on Kubernetes: what would be applied, as text.

The wheel carries the chart of ``deploy/helm/strata``, and Helm's own engine renders it (``pip install helm-python-sdk``), so that a
manifest from here is that of the chart with the same values. Nothing here talks to a cluster.

>>> from strata.kubernetes import values
>>> job = {"input": {"files": ["/data/purchases"]}, "output": {"data": "/data/set", "model": "/data/model"}}
>>> found = values(job, workers=8, memory="16GiB")
>>> found["workers"]["replicas"], found["workers"]["memory"], found["workers"]["budget"]
(8, '16Gi', '12GiB')
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from strata import _job
from strata._jobs import given_in
from strata._recommender import Recommender
from strata.errors import SettingsError, UnavailableError

__all__ = ["CHART", "job_manifest", "values"]

#: The chart, as a folder: ``helm template NAME CHART --values ...`` renders it, too.
CHART = Path(__file__).with_name("chart")
#: Where the volume is mounted, and what the base of results is when a model is the job.
DATA, RESULTS = "/data", "/data/strata"
#: Keys whose values are files or folders.
_PLACES = re.compile(
    r".*[._]files?|.*\.folder|output\.(data|model)|output\.rules\.(allow|deny|windows)|output\.recommend\.explanations"
    r"|model\.initial_(products|users|time|contexts)"
)
#: Objects in the order in which they are applied: what a pod needs stands before it.
_FILES = ("account", "certificates", "job", "network", "service", "batch")
_UNITS = {"MiB": 1, "GiB": 1 << 10, "TiB": 1 << 20}


def job_manifest(
    job: str | os.PathLike[str] | Mapping[str, Any] | Recommender,
    *,
    workers: int = 2,
    image: str | None = None,
    cpu: int | str = 2,
    memory: str = "4GiB",
    disk: str = "50GiB",
    claim: str = "strata-data",
    credentials: Iterable[str] = (),
    verb: str = "run",
    settings: Mapping[str, Any] | None = None,
    chart: Mapping[str, Any] | None = None,
    name: str = "strata",
    namespace: str = "default",
    revision: int = 1,
) -> str:
    """The objects of one batch run: an Indexed Job (a coordinator and workers), a Service, a NetworkPolicy, the job's ConfigMap.

    ``print`` it, or hand it to ``kubectl apply --namespace NAMESPACE --filename -``.

    Parameters
    ----------
    job : path, dict or model
        A job file, or a folder that ``save`` wrote; its sections as a dictionary; or a model, fitted or not, whose parameters are
        ``[model]`` and ``[split]``, and whose results go below ``/data/strata``.
    workers : int
        Pods that work; one more coordinates.
    image : str, optional
        As in ``"registry.example.com/strata:1.2"``: built from ``deploy/Dockerfile``.
    cpu, memory, disk : int or str
        Of each pod, as in ``16``, ``"64GiB"``, ``"1TiB"``. The engine fills three quarters of the memory (``--memory``) and nine tenths
        of the disk (``--disk``).
    claim : str
        The PersistentVolumeClaim that is mounted at ``/data``. Files of the job lie there; ``output.data`` and ``output.model`` may be
        URLs, too.
    credentials : iterable of str
        Secrets whose keys become variables, for object stores.
    verb : str
        What is done: ``"run"``, ``"advise"``, ``"tune"`` and so on.
    settings : dict, optional
        Any other keys by their path, which win over the job, as in ``{"input.files": ["/data/purchases"], "input.user": "customer"}``.
    chart : dict, optional
        Any other values of the chart, which win over all, as in ``{"tls": {"issuer": {"name": "strata-ca"}}}``.
    name, namespace : str
        Of the release: names of objects begin with it, and addresses of workers hold both.
    revision : int
        Ends the name of the Job, since a finished one cannot be changed: apply the next run with the next number.

    Returns
    -------
    str
        YAML.

    Raises
    ------
    SettingsError
        Where the job or a value makes no sense: an unknown key, or a path that is not on the volume.
    UnavailableError
        Where Helm's engine is not installed.
    """
    helm = _helm()
    for what, given in (("name", name), ("namespace", namespace)):
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?", given):
            raise SettingsError(f"`{what}` is {given!r}: give small letters, digits and hyphens, 53 at the most")
    if isinstance(revision, bool) or not isinstance(revision, int) or revision < 1:
        raise SettingsError(f"`revision` is {revision!r}: give a number from 1 on")
    chosen = values(
        job,
        workers=workers,
        image=image,
        cpu=cpu,
        memory=memory,
        disk=disk,
        claim=claim,
        credentials=credentials,
        verb=verb,
        settings=settings,
        chart=chart,
    )
    try:
        with helm.Chart.load(CHART) as loaded:
            files = loaded.render(chosen, name=name, namespace=namespace, revision=revision)
    except helm.HelmError as error:
        said = " ".join(str(error).split())
        raise SettingsError(f"the chart does not take these values: {said}") from None
    texts = {Path(file).stem: text.strip() for file, text in files.items()}
    objects = [texts[file] for file in _FILES if "kind:" in texts.get(file, "")]
    objects += [text for file, text in sorted(texts.items()) if file not in (*_FILES, "NOTES") and "kind:" in text]
    return "".join(f"---\n{text.removeprefix('---').strip()}\n" for text in objects)


def values(
    job: str | os.PathLike[str] | Mapping[str, Any] | Recommender,
    *,
    workers: int = 2,
    image: str | None = None,
    cpu: int | str = 2,
    memory: str = "4GiB",
    disk: str = "50GiB",
    claim: str = "strata-data",
    credentials: Iterable[str] = (),
    verb: str = "run",
    settings: Mapping[str, Any] | None = None,
    chart: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The chart's values for a job, as :func:`job_manifest` takes it: what ``helm install NAME CHART --values FILE`` wants, as JSON."""
    found: dict[str, Any] = {
        "mode": "batch",
        "workers": {"replicas": workers, "cpu": str(cpu), **_share("memory", memory, 3, 4, "budget")},
        "job": {"verb": verb, "toml": _job.toml(_checked(job, settings or {}))},
        "data": {"existingClaim": claim, "credentials": list(credentials)},
    }
    found["workers"].update(_share("disk", disk, 9, 10, "cacheLimit"))
    if image is not None:
        # A colon before the last slash is that of a port.
        repository, colon, tag = image.rpartition(":")
        if not colon or "/" in tag:
            repository, tag = image, ""
        found["image"] = {"repository": repository, "tag": tag}
    return _over(found, chart or {})


def _share(what: str, size: str, part: int, whole: int, kept: str) -> dict[str, str]:
    """A size as Kubernetes writes it, and the part of it that the engine is given."""
    match = re.fullmatch(r"([1-9][0-9]*) ?(MiB|GiB|TiB)", str(size))
    if match is None:
        raise SettingsError(f"`{what}` is {size!r}: give a whole number of MiB, GiB or TiB, as in \"16GiB\"")
    mebibytes = int(match[1]) * _UNITS[match[2]] * part // whole
    given = f"{mebibytes // 1024}GiB" if mebibytes % 1024 == 0 else f"{mebibytes}MiB"
    return {what: f"{match[1]}{match[2][:2]}", kept: given}


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _over(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _checked(job: str | os.PathLike[str] | Mapping[str, Any] | Recommender, settings: Mapping[str, Any]) -> _job.Job:
    """The job with the further settings, as the engine understands it: no unknown key, and no place that a pod does not have."""
    document = _document(job)
    _job.put_all(document, settings)
    checked: _job.Job = {}
    for key, value in given_in(_job.toml(document)).items():
        # Memory, workers and the like are the pods'.
        if not key.startswith("run."):
            _job.put(checked, key, value)
            _reached(key, value)
    for section, key in (("input", "files"), ("output", "data"), ("output", "model")):
        if key not in checked.get(section, {}):
            raise SettingsError(f"the job names no `{section}.{key}`: give it, or add it by `settings`")
    return checked


def _document(job: str | os.PathLike[str] | Mapping[str, Any] | Recommender) -> _job.Job:
    if isinstance(job, Recommender):
        document = job._new_job({}, RESULTS)
        if job.__sklearn_is_fitted__():
            document["input"] = dict(job._fitted_job["input"])
        return document
    if isinstance(job, Mapping):
        return _job.copy(job)
    file = Path(job)
    file = file / "job.toml" if file.is_dir() else file
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UnavailableError(f"{file} is not there: give a job file, its sections as a dictionary, or a model") from None
    document = {}
    for key, value in given_in(text).items():
        _job.put(document, key, value)
    return document


def _reached(key: str, value: Any) -> None:
    if not _PLACES.fullmatch(key):
        return
    # Only a data set and a model may lie in an object store.
    stores = key in ("output.data", "output.model")
    or_url = ", or a URL" if stores else ""
    for place in value if isinstance(value, list) else [value]:
        if isinstance(place, str) and not (stores and "://" in place) and not place.startswith(f"{DATA}/"):
            raise SettingsError(f"`{key}` is {place}, where a pod has nothing: name a path below {DATA}, the volume{or_url}")


def _helm() -> Any:
    try:
        import helm_python
    except ImportError:
        raise UnavailableError(
            "Helm's engine is not installed: pip install helm-python-sdk, or render strata.kubernetes.CHART with helm template and "
            "what strata.kubernetes.values() gives"
        ) from None
    return helm_python
