"""The manifests of deploy/kubernetes as `kubectl kustomize` puts them together: by Kubernetes' own schemas,
and beside compose.yaml, whose processes they are. That a cluster runs them has not been tried.
"""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Iterator
from shutil import which
from typing import Any

import pytest
import yaml
from prefect.utilities.templating import apply_values, find_placeholders

from ranker.refs import PROJECT
from tests.deploy import compose

FOLDER = PROJECT / "deploy" / "kubernetes"
OVERLAYS = ("cpu", "gpu")
VERSIONS = ("1.29", "1.37")
TEMPLATE = json.loads((FOLDER / "overlays" / "gpu" / "job-template.json").read_text(encoding="utf-8"))
needs_kubectl = pytest.mark.skipif(which("kubectl") is None, reason="no kubectl on this machine")


@functools.cache
def rendered(overlay: str) -> list[dict[str, Any]]:
    command = ["kubectl", "kustomize", str(FOLDER / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def one(overlay: str, kind: str, name: str) -> dict[str, Any]:
    (found,) = [
        each for each in rendered(overlay) if (each["kind"], each["metadata"]["name"]) == (kind, name)
    ]
    return found


def pods(overlay: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for each in rendered(overlay):
        spec = each.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield each["metadata"]["name"], spec["template"]["spec"]


def containers(overlay: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, pod in pods(overlay):
        yield from ((name, each) for each in [*pod.get("initContainers", ()), *pod["containers"]])


def job() -> dict[str, Any]:
    """A job of the work pool, as the worker would ask for it with the template's defaults."""
    properties = TEMPLATE["variables"]["properties"]
    values = {name: given["default"] for name, given in properties.items() if "default" in given}
    values |= {"name": "run", "command": ["prefect", "flow-run", "execute"], "env": [], "labels": {"a": "b"}}
    return apply_values(TEMPLATE["job_configuration"]["job_manifest"], values)


def valid(manifest: dict[str, Any], version: str) -> None:
    schemas = pytest.importorskip(
        "kubernetes_validate", reason="no kubernetes-validate (it is one of the extras `dev`)"
    )
    schemas.validate(manifest, version, strict=True)


@needs_kubectl
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_manifest_keeps_to_the_schema(overlay: str, version: str) -> None:
    assert {each["metadata"].get("namespace", "r1-ranker") for each in rendered(overlay)} == {"r1-ranker"}
    for manifest in rendered(overlay):
        valid(manifest, version)


def test_the_schema_refuses_what_is_not_so() -> None:
    schemas = pytest.importorskip("kubernetes_validate")
    with pytest.raises(schemas.ValidationError):
        valid(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"prots": []}}, "1.37"
        )


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pool_s_jobs_keep_to_the_schema(version: str) -> None:
    asked = job()
    pod = asked["spec"]["template"]["spec"]
    assert (pod.pop("parallelism"), pod.pop("completions")) == (1, 1)  # Prefect wants them there
    valid(asked, version)
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1 and container["image"] == "r1-ranker:gpu"
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}


def test_the_template_asks_for_what_it_declares() -> None:
    asked = {each.name for each in find_placeholders(TEMPLATE["job_configuration"])}
    assert asked == set(TEMPLATE["variables"]["properties"])


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_containers_may_do_little_and_say_what_they_need(overlay: str) -> None:
    """What the namespace enforces: Pod Security's `restricted`."""
    for name, pod in pods(overlay):
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 999, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
    for name, container in containers(overlay):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert {"requests", "limits"} <= set(container["resources"]), name


@needs_kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_secret_is_in_a_manifest(overlay: str) -> None:
    assert not [each for each in rendered(overlay) if each["kind"] == "Secret"]
    secrets = {
        "PGPASSWORD",
        "POSTGRES_PASSWORD",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "RANKER_TOKEN",
    }
    assert not secrets & set(one(overlay, "ConfigMap", "ranker")["data"])
    named = [each for _, container in containers(overlay) for each in container.get("env", ())]
    assert all("value" not in each for each in named if each["name"] in secrets)


@needs_kubectl
def test_the_processes_are_those_of_compose() -> None:
    services = compose.read(dict.fromkeys(compose.example(), "given"))["services"]
    own = dict(containers("cpu"))
    for name in ("prefect", "mlflow", "worker", "serve", "bootstrap"):
        container, service = own[name], services[name]
        given = [*container.get("command", ()), *container.get("args", ())]
        wanted = [*service.get("entrypoint", []), *service["command"]]
        different = {"--allowed-hosts", "--task"}  # behind a Service any Host comes; the task is in no .env
        assert [one for one in _without(given, different)] == [one for one in _without(wanted, different)], (
            name
        )
    said = one("cpu", "ConfigMap", "ranker")["data"]
    lake = services["serve"]["environment"]
    assert {name: lake[name] for name in said if name != "HOME"} == {
        n: v for n, v in said.items() if n != "HOME"
    }


def _without(arguments: list[str], options: set[str]) -> Iterator[str]:
    skipped = False
    for each in arguments:
        if not skipped and each not in options:
            yield each
        skipped = each in options


@needs_kubectl
def test_the_server_scales_by_its_processors_and_is_asked_when_a_model_serves() -> None:
    scaler, served = one("cpu", "HorizontalPodAutoscaler", "serve"), one("cpu", "Deployment", "serve")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "serve" and "replicas" not in served["spec"]
    (container,) = served["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"]["cpu"], "utilisation is a share of what is asked for"
    assert container["readinessProbe"]["httpGet"]["path"] == "/health"
    assert "tcpSocket" in container["livenessProbe"], "/health is 503 without a model, which no restart cures"
    selector = one("cpu", "Service", "serve")["spec"]["selector"].items()
    assert selector <= served["spec"]["template"]["metadata"]["labels"].items()


@needs_kubectl
def test_what_is_named_is_there() -> None:
    for overlay in OVERLAYS:
        there = {(each["kind"], each["metadata"]["name"]) for each in rendered(overlay)}
        for _, pod in pods(overlay):
            for volume in pod["volumes"]:
                claim, config = volume.get("persistentVolumeClaim"), volume.get("configMap")
                assert claim is None or ("PersistentVolumeClaim", claim["claimName"]) in there
                assert config is None or ("ConfigMap", config["name"]) in there
    written = json.loads(one("gpu", "ConfigMap", "job-template")["data"]["job-template.json"])
    assert written == TEMPLATE
