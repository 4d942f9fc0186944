"""The files of deploy/kubernetes: existing commands, and the limits of the other deployments."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ci.test_processes import HANDLERS, OURS, handler
from tests.ci.workflow import ROOT
from twelvefold.config import Settings, list_variables

DIRECTORY = ROOT / "deploy" / "kubernetes"
FILES = sorted(DIRECTORY.glob("*/*.yaml"))
RESOURCES = [
    resource
    for path in FILES
    if path.name != "kustomization.yaml"
    for resource in yaml.safe_load_all(path.read_text())
]
PODS = {
    resource["metadata"]["name"].removeprefix("twelvefold-"): resource["spec"]["template"]
    for resource in RESOURCES
    if resource["kind"] in ("Deployment", "Job")
}


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [resource for resource in RESOURCES if resource["kind"] == kind]


def container(name: str) -> dict[str, Any]:
    [only] = PODS[name]["spec"]["containers"]
    found: dict[str, Any] = only
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_is_part_of_a_kustomization(path: Path) -> None:
    kustomization = yaml.safe_load((path.parent / "kustomization.yaml").read_text())

    assert path.name == "kustomization.yaml" or path.name in kustomization["resources"]


@pytest.mark.parametrize("name", HANDLERS)
def test_kubernetes_starts_the_processes(name: str) -> None:
    assert handler(*container(name)["args"]) == HANDLERS[name]
    assert PODS.keys() == HANDLERS.keys()


@pytest.mark.parametrize("name", HANDLERS)
def test_a_pod_has_no_privilege_and_writes_no_file(name: str) -> None:
    pod, own = PODS[name]["spec"], container(name)["securityContext"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert own == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("name", ["web", "worker"])
def test_the_stop_timeout_of_a_pod_exceeds_the_grace_period(name: str) -> None:
    stop = container(name).get("lifecycle", {}).get("preStop", {"sleep": {"seconds": 0}})
    seconds = PODS[name]["spec"]["terminationGracePeriodSeconds"] - stop["sleep"]["seconds"]

    assert seconds > Settings().grace_s + 10


@pytest.mark.parametrize("name", ["web", "worker"])
def test_a_pod_has_the_memory_limit_of_the_containers(name: str) -> None:
    limit = container(name)["resources"]["limits"]["memory"]

    assert limit == OURS[name]["mem_limit"].upper() + "i"


def test_the_probes_of_web_have_other_purposes() -> None:
    web = container("web")

    assert web["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert web["readinessProbe"]["httpGet"]["path"] == "/readyz"


@pytest.mark.parametrize("name", HANDLERS)
def test_a_pod_has_the_settings_and_the_secret(name: str) -> None:
    [settings] = of_kind("ConfigMap")

    assert settings["data"].keys() <= {variable.name for variable in list_variables()}
    assert container(name)["envFrom"] == [
        {"configMapRef": {"name": settings["metadata"]["name"]}},
        {"secretRef": {"name": "twelvefold"}},
    ]


@pytest.mark.parametrize("name", ["web", "worker"])
def test_prometheus_finds_the_metrics_of_a_pod(name: str) -> None:
    [settings] = of_kind("ConfigMap")
    port = settings["data"]["METRICS_PORT"]
    annotations = PODS[name]["metadata"]["annotations"]

    assert {"name": "metrics", "containerPort": int(port)} in container(name)["ports"]
    assert annotations == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": port,
        "prometheus.io/path": "/metrics",
    }


def test_no_service_publishes_the_metrics() -> None:
    for service in of_kind("Service"):
        assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]


@pytest.mark.parametrize("kind", ["Deployment", "Service", "PodDisruptionBudget"])
def test_a_selector_finds_the_pods_of_one_process(kind: str) -> None:
    for resource in of_kind(kind):
        selector = resource["spec"]["selector"]
        wanted = selector.get("matchLabels", selector).items()
        found = [name for name, pod in PODS.items() if wanted <= pod["metadata"]["labels"].items()]

        assert len(found) == 1, resource["metadata"]["name"]


def test_no_file_contains_a_secret() -> None:
    assert of_kind("Secret") == []
