"""Renders the chart and checks what comes out, without a cluster.

    pip install helm-python-sdk==0.2.2 kubernetes-validate==1.37.0 promql-parser==0.12.0 pyyaml==6.0.3
    python deploy/render.py check             # all variants, strictly, against three versions of Kubernetes
    python deploy/render.py kustomize         # writes deploy/kustomize anew from the chart's values
    python deploy/render.py show daemons      # prints a variant
    python deploy/render.py rules FOLDER      # writes the rules of each variant, and of kustomize, as Prometheus reads them

`check` prints one JSON object: the commands that the pods of each variant run, the job, and what alerts ask for.
"""

import json
import os
import re
import sys

import helm_python
import kubernetes_validate
import promql_parser
import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
CHART = os.path.join(HERE, "helm", "strata")
KUSTOMIZE = os.path.join(HERE, "kustomize")
# Kinds of operators, whose schemas are not Kubernetes' own.
OPERATORS = ["monitoring.coreos.com/v1", "cert-manager.io/v1"]
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
    "watched": {"monitoring": {"enabled": True, "labels": {"release": "prometheus"}, "namespace": "observability"}},
    "certified": {"tls": {"issuer": {"name": "strata-ca", "kind": "ClusterIssuer"}}, "nightly": {"enabled": True}},
    "certified-batch": {"mode": "batch", "workers": {"replicas": 5}, "tls": {"workers": "of-workers", "coordinator": "of-coordinators"}},
    "watched-batch": {"mode": "batch", "workers": {"replicas": 5}, "monitoring": {"enabled": True}, "networkPolicy": {"enabled": False}},
}
# What the schema must refuse.
WRONG = [
    {"mode": "sometimes"},
    {"workers": {"replicas": 0}},
    {"workers": {"memory": "8 GB"}},
    {"job": {"verb": "forget"}},
    {"wokers": {"replicas": 2}},
    {"monitoring": {"interval": "often"}},
    {"http": {"port": 80}},
    {"tls": {"workers": "alone"}},
    {"tls": {"issuer": {"kind": "Authority"}}},
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


def answer(of):
    """Every port that is probed is one that is open and that the program is told to answer at."""
    for pod in pods(of):
        for container in pod["containers"]:
            words = " ".join(container["command"] + container["args"])
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            must(f"--http 0.0.0.0:{ports['http']}" in words.replace("--http\n", "--http "), of, "nobody answers at the port")
            probes = [container[kind]["httpGet"] for kind in ("startupProbe", "readinessProbe", "livenessProbe") if kind in container]
            must(probes, of, "nobody asks how it is")
            for probe in probes:
                must(probe["port"] == ports["http"], of, "another port is asked")
                must(probe["path"] in ("/healthz", "/readyz"), of, "another page is asked")


def alerts(of):
    """Names of figures that the alerts of an object ask for. What an operator's schema asks of rules is checked here; when they fire, by
    promtool (alerts.test.yaml)."""
    asked = set()
    must(list(of["spec"]) == ["groups"], of, "it has more than groups")
    for group in of["spec"]["groups"]:
        must(set(group) == {"name", "rules"}, of, "a group has other keys")
        for rule in group["rules"]:
            must(set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, of, f"{rule['alert']}: other keys")
            must(rule["labels"]["severity"] in ("warning", "critical"), of, f"{rule['alert']}: its severity")
            must(rule["annotations"]["summary"], of, f"{rule['alert']}: no summary")
            promql_parser.parse(rule["expr"])
            asked |= set(re.findall(r"\b(?:strata|kube)_[a-z_]+|\bup\b", rule["expr"]))
    return asked


def watch(objects):
    """Monitors find services with their port; what alerts ask for is returned."""
    asked = []
    services = [of for of in objects if of["kind"] == "Service"]
    for of in objects:
        if of["kind"] == "ServiceMonitor":
            chosen = of["spec"]["selector"]["matchLabels"].items()
            found = [service for service in services if chosen <= service["metadata"]["labels"].items()]
            must(found, of, "it finds no service")
            for endpoint in of["spec"]["endpoints"]:
                must(all(endpoint["port"] in [port["name"] for port in service["spec"]["ports"]] for service in found), of, "no such port")
        if of["kind"] == "PrometheusRule":
            names = [rule["alert"] for group in of["spec"]["groups"] for rule in group["rules"]]
            asked = {"alerts": names, "figures": sorted(alerts(of))}
    return asked


def certify(objects):
    """Programs are told of the certificates that are mounted, and of those that are asked for none but their own; without any, workers say so."""
    issued = {of["spec"]["secretName"]: of["spec"]["dnsNames"] for of in objects if of["kind"] == "Certificate"}
    for of in objects:
        for pod in pods(of):
            mounted = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
            for container in pod["containers"]:
                words = " ".join(container["command"] + container["args"]).split()
                told = {words[place + 1] for place, word in enumerate(words) if word == "--tls"}
                paths = {mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] in mounted}
                must(told == paths, of, "it is told of other certificates than it has")
                must("worker" not in words or ("--insecure" in words) != bool(told), of, "its workers are open, or shut to all")
            for name, secret in mounted.items():
                role = name.removeprefix("tls-")
                must(not issued or issued[secret] == [f"{role}.strata"], of, "its certificate is of another role")


def connect(objects):
    """Names and labels that must meet."""
    kinds = {}
    for of in objects:
        kinds.setdefault(of["kind"], []).append(of)
    services = {of["metadata"]["name"]: of for of in kinds["Service"]}
    labelled = [of["spec"]["template"]["metadata"]["labels"] for of in objects if of["kind"] in ("StatefulSet", "Job")]
    for service in services.values():
        chosen = service["spec"]["selector"].items()
        of_jobs = service["metadata"]["name"].endswith("-coordinator")
        must(of_jobs or any(chosen <= labels.items() for labels in labelled), service, "it selects no pod")
    for of in kinds.get("StatefulSet", []):
        must(of["spec"]["serviceName"] in services, of, "its service is missing")
        must(of["spec"]["selector"]["matchLabels"].items() <= of["spec"]["template"]["metadata"]["labels"].items(), of, "it selects other pods")
    for of in kinds.get("PodDisruptionBudget", []):
        must(any(of["spec"]["selector"]["matchLabels"].items() <= labels.items() for labels in labelled), of, "it guards no pod")
    for of in objects:
        for pod in pods(of):
            for rule in pod.get("topologySpreadConstraints", []):
                labels = of["spec"]["template"]["metadata"]["labels"].items()
                must(rule["labelSelector"]["matchLabels"].items() <= labels, of, "it is spread among other pods")
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
    commands, watched = {}, {}
    for name, values in VARIANTS.items():
        objects = rendered(values)
        for of in objects:
            for version in VERSIONS if of["apiVersion"] not in OPERATORS else []:
                kubernetes_validate.validate(of, version, strict=True)
            harden(of)
            answer(of)
        certify(objects)
        connect(objects)
        watched[name] = watch(objects)
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
    for name, text in kustomize().items():
        with open(os.path.join(KUSTOMIZE, name)) as file:
            if file.read() != text:
                raise SystemExit(f"deploy/kustomize/{name} is not what the chart renders: run deploy/render.py kustomize")
    print(json.dumps({"versions": VERSIONS, "commands": commands, "job": job, "watched": watched}))


def kustomize():
    """The files of the base, and of the component that watches it, by name."""
    files = {}
    watched = [of for of in rendered({"monitoring": {"enabled": True}}) if of not in rendered({})]
    for folder, kind, objects in (("base", "Kustomization", rendered({})), ("monitoring", "Component", watched)):
        named = {}
        for of in objects:
            of["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "kustomize"
            for pod in pods(of):
                of["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "kustomize"
            # Of two of a kind, the name of the second follows.
            name = of["kind"].lower()
            named[f"{name}.yaml" if f"{name}.yaml" not in named else f"{name}-{of['metadata']['name']}.yaml"] = of
        for name, of in named.items():
            files[f"{folder}/{name}"] = yaml.safe_dump(of, sort_keys=False, width=120)
        version = "v1beta1" if kind == "Kustomization" else "v1alpha1"
        listed = {"apiVersion": f"kustomize.config.k8s.io/{version}", "kind": kind, "namespace": NAMESPACE, "resources": sorted(named)}
        files[f"{folder}/kustomization.yaml"] = yaml.safe_dump(listed, sort_keys=False)
    head = "# Made from the chart by deploy/render.py: change the chart, not these files.\n"
    return {name: head + text for name, text in files.items()}


def rules():
    """The alerts of each variant that has some, and of the component of kustomize, as files of rules."""
    with open(os.path.join(KUSTOMIZE, "monitoring", "prometheusrule.yaml")) as file:
        found = {"kustomize": yaml.safe_load(file)}
    for name, values in VARIANTS.items():
        found |= {name: of for of in rendered(values) if of["kind"] == "PrometheusRule"}
    return {name: yaml.safe_dump(of["spec"], sort_keys=False) for name, of in found.items()}


def main():
    match sys.argv[1:]:
        case ["check"]:
            check()
        case ["kustomize"]:
            for name, text in kustomize().items():
                os.makedirs(os.path.dirname(os.path.join(KUSTOMIZE, name)), exist_ok=True)
                with open(os.path.join(KUSTOMIZE, name), "w") as file:
                    file.write(text)
        case ["rules", folder]:
            for name, text in rules().items():
                with open(os.path.join(folder, f"{name}.rules.yaml"), "w") as file:
                    file.write(text)
        case ["show", variant] if variant in VARIANTS:
            print(yaml.safe_dump_all(rendered(VARIANTS[variant]), sort_keys=False))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
