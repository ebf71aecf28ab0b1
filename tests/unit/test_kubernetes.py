"""The manifests of deploy/kubernetes: right by Kubernetes' schemas, and in agreement."""

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from compose_file import image_environment

from service.settings import InvalidSettingsError, Settings

FOLDER = Path(__file__).parents[2] / "deploy/kubernetes"
VERSION = "1.34"
"""The oldest that the manifests are for: `sleep` before a pod's end is stable since then."""
NAMESPACE = "ctr"
TEXT = {"type": "string", "minLength": 1}
DURATION = {"type": "string", "pattern": r"^[1-9]\d*(ms|s|m)$"}
SERVICE_MONITOR = {
    # Not among Kubernetes' own schemas: the fields used here, as the operator documents them.
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "ServiceMonitor"},
        "metadata": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {
                "name": TEXT,
                "labels": {"type": "object", "additionalProperties": TEXT},
            },
        },
        "spec": {
            "type": "object",
            "required": ["selector", "endpoints"],
            "additionalProperties": False,
            "properties": {
                "selector": {
                    "type": "object",
                    "required": ["matchLabels"],
                    "additionalProperties": False,
                    "properties": {"matchLabels": {"type": "object", "minProperties": 1}},
                },
                "endpoints": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["port"],
                        "additionalProperties": False,
                        "properties": {
                            "port": TEXT,
                            "path": {"type": "string", "pattern": "^/"},
                            "interval": DURATION,
                            "scrapeTimeout": DURATION,
                        },
                    },
                },
            },
        },
    },
}
FILES = sorted(FOLDER.rglob("*.yaml"))


def load(name: str) -> dict[str, Any]:
    manifest: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return manifest


def validate(manifest: Mapping[str, Any]) -> None:
    if manifest["kind"] == "ServiceMonitor":
        jsonschema.validate(manifest, SERVICE_MONITOR)
    else:
        kubernetes_validate.validate(manifest, VERSION, strict=True)


def pods() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name of the file, pod and container of everything that runs."""
    for name in ("deployment.yaml", "bridge.yaml", "examples/train.yaml"):
        pod = load(name)["spec"]["template"]["spec"]
        [container] = pod["containers"]
        yield name, pod, container


def test_every_part_is_there() -> None:
    kinds = sorted(load(path.name)["kind"] for path in FILES if path.parent == FOLDER)

    assert kinds == sorted(
        [
            *("Deployment", "Deployment", "Service", "ServiceMonitor", "HorizontalPodAutoscaler"),
            *("PodDisruptionBudget", "ConfigMap", "NetworkPolicy", "PersistentVolumeClaim"),
        ]
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_manifest_is_right_by_its_schema(path: Path) -> None:
    validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    ("name", "where", "value"),
    [
        ("deployment.yaml", "spec.replicas", "three"),
        ("deployment.yaml", "spec.template.spec.containers.0.memory", "1Gi"),
        ("deployment.yaml", "spec.template.spec.containers.0.livenessProbe.httpGet.port", None),
        ("bridge.yaml", "spec.selector", None),
        ("service.yaml", "spec.ports.0.port", "eight"),
        ("autoscaler.yaml", "spec.maxReplicas", None),
        ("disruption.yaml", "spec.maxUnavailble", 1),
        ("config.yaml", "data.CTR_WORKERS", 2),
        ("network.yaml", "spec.policyType", ["Ingress"]),
        ("servicemonitor.yaml", "spec.endpoints.0.interval", "often"),
        ("servicemonitor.yaml", "spec.endpoints.0.intervall", "5s"),
        ("examples/train.yaml", "spec.template.spec.restartPolicy", ["Never"]),
    ],
)
def test_the_schemas_find_a_planted_fault(name: str, where: str, value: object) -> None:
    mutant = copy.deepcopy(load(name))
    *path, last = where.split(".")
    inner: Any = mutant
    for step in path:
        inner = inner[int(step)] if step.isdigit() else inner[step]
    if value is None:
        del inner[last]
    else:
        inner[last] = value

    with pytest.raises((kubernetes_validate.ValidationError, jsonschema.ValidationError)):
        validate(mutant)


def environment(secret: Mapping[str, str]) -> dict[str, str]:
    return {**image_environment(), **load("config.yaml")["data"], **secret}


def test_the_service_takes_the_settings() -> None:
    secret = {**load("examples/secret.yaml")["stringData"], "CTR_SIGNING_KEY": "k" * 48}
    secret["CTR_API_TOKEN"] = "t" * 48

    settings = Settings.from_environment(environment(secret))

    assert settings.monitored_scope == "fleet"
    assert not settings.bridge_enabled


def test_the_example_of_a_secret_is_refused_as_it_stands() -> None:
    with pytest.raises(InvalidSettingsError, match="CTR_SIGNING_KEY"):
        Settings.from_environment(environment(load("examples/secret.yaml")["stringData"]))


def test_no_container_has_more_rights_than_it_needs() -> None:
    for name, pod, container in pods():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] == 10001, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert set(container["resources"]["limits"]) == {"memory"}, name
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}, name


def test_everything_that_is_named_exists() -> None:
    config, secret = load("config.yaml"), load("examples/secret.yaml")
    claim = load("models.yaml")["metadata"]["name"]
    for _name, pod, container in pods():
        for source in container.get("envFrom", ()):
            [reference] = source.values()
            assert reference["name"] in {config["metadata"]["name"], secret["metadata"]["name"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        assert volumes["models"]["persistentVolumeClaim"]["claimName"] == claim
    target = load("autoscaler.yaml")["spec"]["scaleTargetRef"]
    deployment = load("deployment.yaml")
    assert target["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]  # the autoscaler's


def test_all_selectors_find_the_pods_of_the_service_alone() -> None:
    labels = load("deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    service = load("service.yaml")
    selectors = [
        load("deployment.yaml")["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        load("disruption.yaml")["spec"]["selector"]["matchLabels"],
    ]

    assert all(selector == labels for selector in selectors)
    assert load("bridge.yaml")["spec"]["template"]["metadata"]["labels"] != labels
    # The monitor finds services by their labels, not pods.
    monitored = load("servicemonitor.yaml")["spec"]["selector"]["matchLabels"]
    assert monitored == service["metadata"]["labels"]


def opened(manifests: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What lets in more than the namespaces that the policy names."""
    policies = 0
    for manifest in manifests:
        kind, spec = manifest["kind"], manifest.get("spec", {})
        if kind in {"Ingress", "Gateway", "HTTPRoute"}:
            yield f"{kind} publishes it"
        if kind == "Service" and (
            spec.get("type", "ClusterIP") != "ClusterIP" or spec.get("externalIPs")
        ):
            yield "a service is reached from outside the cluster"
        if kind == "NetworkPolicy":
            policies += 1
            if set(spec["policyTypes"]) != {"Ingress", "Egress"}:
                yield "a direction is not restricted"
            rules = [*spec.get("ingress", ()), *spec.get("egress", ())]
            peers = [peer for rule in rules for peer in rule.get("from", rule.get("to", [{}]))]
            if not all(peer.get("namespaceSelector", {}).get("matchLabels") for peer in peers):
                yield "a rule lets everybody in or out"
        pod = spec.get("template", {}).get("spec", {})
        ports = [port for one in pod.get("containers", ()) for port in one.get("ports", ())]
        if pod.get("hostNetwork") or any("hostPort" in port for port in ports):
            yield "a pod listens on its node"
    if not policies:
        yield "nothing is restricted"


def test_nothing_is_published_and_only_named_namespaces_are_let_in() -> None:
    manifests = [yaml.safe_load(file.read_text()) for file in FILES]
    policy, pod_labels = load("network.yaml"), load("deployment.yaml")["spec"]["template"]
    selected = policy["spec"]["podSelector"]["matchLabels"]

    assert list(opened(manifests)) == []
    assert selected.items() <= pod_labels["metadata"]["labels"].items()
    assert selected.items() <= load("bridge.yaml")["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("name", "where", "value", "found"),
    [
        ("service.yaml", "type", "LoadBalancer", "from outside the cluster"),
        ("service.yaml", "type", "NodePort", "from outside the cluster"),
        ("service.yaml", "externalIPs", ["192.0.2.1"], "from outside the cluster"),
        ("network.yaml", "policyTypes", ["Ingress"], "a direction is not restricted"),
        ("network.yaml", "ingress", [{}], "lets everybody in"),
        ("network.yaml", "egress", [{"to": [{"namespaceSelector": {}}]}], "lets everybody in"),
        ("deployment.yaml", "template", {"spec": {"hostNetwork": True}}, "listens on its node"),
    ],
)
def test_a_planted_opening_is_found(name: str, where: str, value: object, found: str) -> None:
    mutant = load(name)
    mutant["spec"][where] = value

    assert any(found in problem for problem in opened([mutant, load("network.yaml")]))


def test_ports_and_paths_agree() -> None:
    [(_, _, container), *_] = pods()
    [port] = container["ports"]
    [published] = load("service.yaml")["spec"]["ports"]
    [endpoint] = load("servicemonitor.yaml")["spec"]["endpoints"]
    [ingress] = load("network.yaml")["spec"]["ingress"]

    assert str(port["containerPort"]) == image_environment()["CTR_PORT"]
    assert published["targetPort"] == port["name"]
    assert endpoint["port"] == published["name"]
    assert [rule["port"] for rule in ingress["ports"]] == [port["containerPort"]]
    probed = {
        container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness")
    } | {container["livenessProbe"]["httpGet"]["path"]}
    assert probed == {"/readyz", "/healthz"}


def test_the_pods_may_speak_to_what_their_settings_name() -> None:
    given = {**load("config.yaml")["data"], **load("examples/secret.yaml")["stringData"]}
    allowed = {
        (peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], rule["port"])
        for egress in load("network.yaml")["spec"]["egress"]
        for peer in egress["to"]
        for rule in egress["ports"]
    }
    named = {
        (found[1], int(found[2]))
        for value in given.values()
        for found in re.finditer(r"(?://|@)[\w-]+\.([\w-]+):(\d+)", value)
    }

    assert len(named) == 3
    assert named < allowed


def test_prometheus_labels_the_targets_as_the_settings_select_them() -> None:
    data = load("config.yaml")["data"]
    [endpoint] = load("servicemonitor.yaml")["spec"]["endpoints"]

    # The operator makes the job of the service's name.
    job = load("service.yaml")["metadata"]["name"]
    assert data["CTR_PROMETHEUS_SELECTOR"] == f'{{job="{job}", namespace="{NAMESPACE}"}}'
    assert endpoint["interval"] == f"{data['CTR_SCRAPE_INTERVAL']}s"


def test_a_pod_has_time_to_answer_its_last_requests() -> None:
    [(_, pod, container), *_] = pods()
    # Uvicorn waits 10 s for what is being answered, after nobody sends any more.
    waited = container["lifecycle"]["preStop"]["sleep"]["seconds"]

    assert pod["terminationGracePeriodSeconds"] >= waited + 10 + 5
