"""What would be applied on Kubernetes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Callable

import pytest

import strata
from strata.kubernetes import CHART, job_manifest, values

helm_python = pytest.importorskip("helm_python")
yaml = pytest.importorskip("yaml")

#: Where things lie in a pod.
PLACES = {
    "input.files": ["/data/purchases"],
    "input.user": "customer",
    "output.data": "s3://shop/set",
    "output.recommend.file": "/data/lists.parquet",
}


def objects(text: str) -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all(text)}


def test_it_is_what_the_chart_renders() -> None:
    text = job_manifest(
        strata.ALS(rank=8, split={"test_bins": 4}),
        workers=5,
        image="registry.example.com:5000/strata:1.2",
        cpu=16,
        memory="64GiB",
        disk="2TiB",
        claim="purchases",
        credentials=["s3", "more"],
        settings={**PLACES, "input.time": "day"},
        chart={"tls": {"issuer": {"name": "strata-ca"}}, "workers": {"nodeSelector": {"pool": "large"}}},
        name="monday",
        namespace="shop",
        revision=3,
    )
    toml = objects(text)["ConfigMap"]["data"]["job.toml"]
    by_hand = {
        "mode": "batch",
        "image": {"repository": "registry.example.com:5000/strata", "tag": "1.2"},
        "workers": {
            "replicas": 5,
            "cpu": "16",
            "memory": "64Gi",
            "budget": "48GiB",
            "disk": "2Ti",
            "cacheLimit": f"{2 * 1024 * 1024 * 9 // 10}MiB",
            "nodeSelector": {"pool": "large"},
        },
        "job": {"toml": toml},
        "data": {"existingClaim": "purchases", "credentials": ["s3", "more"]},
        "tls": {"issuer": {"name": "strata-ca"}},
    }
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(by_hand, name="monday", namespace="shop", revision=3)
    rendered = [each for name in files if name.endswith(".yaml") for each in yaml.safe_load_all(files[name]) if each]
    found = list(yaml.safe_load_all(text))
    assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, rendered))
    # What a pod needs comes before it.
    kinds = [each["kind"] for each in found]
    assert kinds == ["ServiceAccount", "Certificate", "Certificate", "ConfigMap", "NetworkPolicy", "Service", "Job"]


def test_kubernetes_takes_it(model: strata.ALS) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    text = job_manifest(model, settings={**PLACES, "input.user": "user"})
    for each in yaml.safe_load_all(text):
        for version in ("1.34.0", "1.37.0"):
            validate(each, version, strict=True)
    job = objects(text)["Job"]
    assert job["metadata"]["name"] == "strata-batch-1" and job["spec"]["completions"] == 3
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == container["resources"]["requests"] == {"cpu": "2", "memory": "4Gi"}
    assert "--memory 3GiB" in container["args"][0]


def test_the_command_line_takes_its_job(tmp_path: Path, model: strata.ALS, coordinator: Callable[..., dict[str, Any]]) -> None:
    text = objects(job_manifest(model, verb="evaluate", settings=PLACES))["ConfigMap"]["data"]["job.toml"]
    found = {each["key"]: each for each in coordinator(tmp_path, "config", text)["settings"]}
    assert found["model.rank"]["value"] == 6 and found["input.time"]["value"] == "day"
    # A setting wins, what is not named goes below the volume, and nothing of this machine comes along.
    assert found["input.user"]["value"] == "customer"
    assert found["output.model"]["value"] == "/data/strata/model" and found["output.data"]["value"] == "s3://shop/set"
    assert found["run.memory"]["origin"] == "not set"


def test_jobs_are_files_or_dictionaries(tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text("[input]\nfiles = ['/data/a.parquet']\n[output]\ndata = '/data/d'\nmodel = '/data/m'\n[run]\nthreads = 3\n")
    job = {"input": {"files": ["/data/a.parquet"]}, "output": {"data": "/data/d", "model": "/data/m"}}
    assert values(file) == values(job) == values(tmp_path)
    assert "rows_per_file = 5" in values(job, settings={"generate.rows_per_file": 5})["job"]["toml"]
    assert "threads" not in values(file)["job"]["toml"]
    assert "rank = 9" in values(file, settings={"model.rank": 9})["job"]["toml"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"settings": {"input.files": ["purchases.parquet"]}}, "`input.files` is purchases.parquet, where a pod has nothing"),
        ({"settings": {"output.report.file": "/tmp/report.html"}}, "`output.report.file` is /tmp/report.html, where a pod has nothing"),
        ({"settings": {"input.files": ["s3://shop/purchases"]}}, "`input.files` is s3://shop/purchases, .* below /data, the volume$"),
        ({"settings": {"output.model": "model"}}, "`output.model` is model, .* below /data, the volume, or a URL$"),
        ({"settings": {"input.files": None}}, "the job names no `input.files`"),
        ({"settings": {"model.rnk": 3}}, "unknown key `rnk` in \\[model\\]: did you mean `rank`"),
        ({"memory": "16 GB"}, "`memory` is '16 GB': give a whole number of MiB, GiB or TiB"),
        ({"workers": 0}, "the chart does not take these values: .*replicas"),
        ({"verb": "forget"}, "the chart does not take these values: .*verb"),
        ({"chart": {"wokers": {}}}, "the chart does not take these values: .*wokers"),
        ({"chart": {"tls": {"workers": "alone"}}}, "the chart does not take these values: .*give both"),
        ({"name": "My_Job"}, "`name` is 'My_Job'"),
        ({"revision": 0}, "`revision` is 0"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(strata.SettingsError, match=says):
        job_manifest(strata.ALS(), **{**given, "settings": {**PLACES, **given.get("settings", {})}})


def test_a_job_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(strata.UnavailableError, match="job.toml is not there"):
        job_manifest(tmp_path / "job.toml")


def test_without_helm_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "helm_python", None)
    with pytest.raises(strata.UnavailableError, match="pip install helm-python-sdk"):
        job_manifest(strata.ALS(), settings=PLACES)


def test_the_script_of_a_pod_is_one_of_the_shell() -> None:
    # Whatever stands in a job, the pod's script is not made of it.
    text = job_manifest(strata.ALS(), settings={**PLACES, "input.user": "it's `$(x)`"})
    [container] = objects(text)["Job"]["spec"]["template"]["spec"]["containers"]
    assert "it's" not in container["args"][0]
    assert subprocess.run(["sh", "-n", "-c", container["args"][0]]).returncode == 0
