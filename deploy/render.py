"""Renders the chart and checks what comes out, without a cluster.

    pip install helm-python-sdk==0.2.2 kubernetes-validate==1.37.0 pyyaml==6.0.3
    python deploy/render.py check             # all variants, strictly, against three versions of Kubernetes
    python deploy/render.py kustomize         # writes deploy/kustomize/base anew from the chart's values
    python deploy/render.py show daemons      # prints a variant

`check` prints one JSON object: the commands that the pods of each variant run, and the job.
"""

import json
import os
import sys

import helm_python
import kubernetes_validate
import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
CHART = os.path.join(HERE, "helm", "strata")
BASE = os.path.join(HERE, "kustomize", "base")
VERSIONS = ["1.34.0", "1.36.0", "1.37.0"]
# What the base is made of: no release of Helm, so names are plain.
RELEASE, NAMESPACE = "strata", "strata"
VARIANTS = {
    "daemons": {},
    "nightly": {"nightly": {"enabled": True}},
    "batch": {"mode": "batch", "workers": {"replicas": 5}},
    "large": {
        "image": {"repository": "registry.example.com/strata", "tag": "1.2.3", "pullSecrets": ["registry"]},
        "workers": {
            "replicas": 40, "cpu": "16", "memory": "64Gi", "budget": "52GiB", "disk": "2Ti", "cacheLimit": "1900GiB", "storageClass": "local-nvme",
            "nodeSelector": {"pool": "factorization"}, "tolerations": [{"key": "dedicated", "operator": "Equal", "value": "strata", "effect": "NoSchedule"}],
        },
        "job": {"verb": "advise", "settings": {"advise.seconds": 600, "model.rank": 128}},
        "data": {"credentials": ["s3"]},
    },
    "open": {"networkPolicy": {"enabled": False}, "job": {"enabled": False}},
}
# What the schema must refuse.
WRONG = [
    {"mode": "sometimes"},
    {"workers": {"replicas": 0}},
    {"workers": {"memory": "8 GB"}},
    {"job": {"verb": "forget"}},
    {"wokers": {"replicas": 2}},
]


def rendered(values):
    """The objects of a variant, in the order of their files."""
    with helm_python.Chart.load(CHART) as chart:
        files = chart.render(values, name=RELEASE, namespace=NAMESPACE)
    objects = []
    for name in sorted(files):
        if name.endswith(".yaml"):
            objects += [of for of in yaml.safe_load_all(files[name]) if of]
    return objects


def pods(of):
    """Specs of pods below an object."""
    spec = of.get("spec", {})
    if of["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return [spec["template"]["spec"]] if "template" in spec else []


def must(holds, of, what):
    if not holds:
        raise SystemExit(f"{of['kind']} {of['metadata']['name']}: {what}")


def harden(of):
    """Every pod is without privileges, tokens and writable roots, and has what it asks for."""
    for pod in pods(of):
        must(pod["automountServiceAccountToken"] is False, of, "a token is mounted")
        must(pod["securityContext"]["runAsNonRoot"], of, "it may run as root")
        must(pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", of, "no seccomp profile")
        for container in pod["containers"]:
            context = container["securityContext"]
            must(context["readOnlyRootFilesystem"], of, "the root is writable")
            must(context["allowPrivilegeEscalation"] is False, of, "privileges may grow")
            must(context["capabilities"] == {"drop": ["ALL"]}, of, "capabilities are left")
            resources = container["resources"]
            must(resources["requests"] == resources["limits"], of, "requests differ from limits")
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            claims = {claim["metadata"]["name"] for claim in of["spec"].get("volumeClaimTemplates", [])}
            must(mounted == {volume["name"] for volume in pod["volumes"]} | claims, of, "volumes and mounts differ")


def connect(objects):
    """Names and labels that must meet."""
    kinds = {}
    for of in objects:
        kinds.setdefault(of["kind"], []).append(of)
    services = {of["metadata"]["name"]: of for of in kinds["Service"]}
    labelled = [of["spec"]["template"]["metadata"]["labels"] for of in objects if of["kind"] in ("StatefulSet", "Job")]
    for service in services.values():
        chosen = service["spec"]["selector"].items()
        must(any(chosen <= labels.items() for labels in labelled), service, "it selects no pod")
    for of in kinds.get("StatefulSet", []):
        must(of["spec"]["serviceName"] in services, of, "its service is missing")
        must(of["spec"]["selector"]["matchLabels"].items() <= of["spec"]["template"]["metadata"]["labels"].items(), of, "it selects other pods")
    for of in kinds.get("PodDisruptionBudget", []):
        must(any(of["spec"]["selector"]["matchLabels"].items() <= labels.items() for labels in labelled), of, "it guards no pod")
    accounts = {of["metadata"]["name"] for of in kinds["ServiceAccount"]}
    maps = {of["metadata"]["name"] for of in kinds["ConfigMap"]}
    for of in objects:
        for pod in pods(of):
            must(pod["serviceAccountName"] in accounts, of, "its account is missing")
            named = {volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
            must(named <= maps, of, "its job is missing")


def check():
    # Severity 1 is a hint: an icon is none of a chart's duties.
    troubles = [finding for finding in helm_python.lint(CHART)["messages"] if finding["severity"] > 1]
    if troubles:
        raise SystemExit(f"helm lint: {troubles}")
    commands = {}
    for name, values in VARIANTS.items():
        objects = rendered(values)
        for of in objects:
            for version in VERSIONS:
                kubernetes_validate.validate(of, version, strict=True)
            harden(of)
        connect(objects)
        commands[name] = [
            {"kind": of["kind"], "command": container["command"] + container["args"]}
            for of in objects for pod in pods(of) for container in pod["containers"]
        ]
    job = next(of for of in rendered({}) if of["kind"] == "ConfigMap")["data"]["job.toml"]
    with helm_python.Chart.load(CHART) as chart:
        for values in WRONG:
            try:
                chart.render(values, name=RELEASE, namespace=NAMESPACE)
            except helm_python.HelmError:
                continue
            raise SystemExit(f"the schema of values lets {values} through")
    for name, text in base().items():
        with open(os.path.join(BASE, name)) as file:
            if file.read() != text:
                raise SystemExit(f"deploy/kustomize/base/{name} is not what the chart renders: run deploy/render.py kustomize")
    print(json.dumps({"versions": VERSIONS, "commands": commands, "job": job}))


def base():
    """The files of the kustomize base, by name."""
    files = {}
    for of in rendered({}):
        of["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "kustomize"
        for pod in pods(of):
            of["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "kustomize"
        files[f"{of['kind'].lower()}.yaml"] = yaml.safe_dump(of, sort_keys=False, width=120)
    head = "# Made from the chart by deploy/render.py: change the chart, not these files.\n"
    listed = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": NAMESPACE, "resources": sorted(files)}
    files["kustomization.yaml"] = yaml.safe_dump(listed, sort_keys=False)
    return {name: head + text for name, text in files.items()}


def main():
    match sys.argv[1:]:
        case ["check"]:
            check()
        case ["kustomize"]:
            os.makedirs(BASE, exist_ok=True)
            for name, text in base().items():
                with open(os.path.join(BASE, name), "w") as file:
                    file.write(text)
        case ["show", variant] if variant in VARIANTS:
            print(yaml.safe_dump_all(rendered(VARIANTS[variant]), sort_keys=False))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
