"""Compose and Kubernetes hand to the services what these have; alerts and dashboard ask for series that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from places import ROOT
from pydantic_settings import BaseSettings

from inference_server.loop_watch import LoopWatch
from inference_server.metrics import Metrics
from shared.settings import ServerSettings, TrainerSettings, WorkerSettings

MANIFESTS = ROOT / "services" / "kubernetes"
MONITORING = ROOT / "services" / "monitoring"
OF_THE_IMAGE = {
    "inference_server": {"HOST", "PORT", "MODELS_DIR", "ALLOW_OPEN", "STORE_URL"},
    "sim_worker": {"WORKER_ID", "OUTBOX_DIR", "MODELS_DIR"},
    "trainer_job": {"DATA_DIR", "MODELS_DIR", "SHIPPED_MODELS_DIR"},
}
"""Settings that the image or the command fixes: a path of the host in .env must not reach a container."""
SETTINGS: dict[str, type[BaseSettings]] = {
    "inference_server": ServerSettings, "sim_worker": WorkerSettings, "trainer_job": TrainerSettings,
}  # fmt: skip


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


@pytest.mark.parametrize("service", SETTINGS)
def test_every_setting_reaches_its_container(service: str) -> None:
    handed = set(compose()["services"][service]["environment"])
    known = {name.upper() for name in SETTINGS[service].model_fields}
    assert known - handed == OF_THE_IMAGE[service]
    assert {name for name in handed - known if not name.startswith("AWS_")} <= {"ROUND_OUTCOMES"}


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBJECTS_DIR", "")
    assert WorkerSettings().objects_dir is None


def test_rules_of_cluster_and_compose_are_the_same() -> None:
    rule = yaml.safe_load((MANIFESTS / "components" / "monitoring" / "alerts.yaml").read_text())
    assert rule["spec"] == yaml.safe_load((MONITORING / "alerts.yml").read_text())


def queries() -> list[str]:
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    dashboard = json.loads((MONITORING / "grafana" / "grasploop.json").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [rule["expr"] for group in rules for rule in group["rules"]] + shown


def test_queries_name_series_that_the_server_has(tmp_path: Path, redis_url: str) -> None:
    metrics = Metrics()
    metrics.registry.register(LoopWatch(tmp_path, redis_url))
    names = set()
    for family in metrics.registry.collect():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        names |= {family.name + suffix for suffix in suffixes}
    asked = {name for query in queries() for name in re.findall(r"\b(?:grasp|process)_\w+", query)}
    assert asked <= names
    assert len(asked) > 15


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl, which renders the manifests, is not installed")
    documents = {}
    for folder in (MANIFESTS / "base", *(MANIFESTS / "overlays").iterdir()):
        done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        documents[folder.name] = list(yaml.safe_load_all(done.stdout))
    return documents


def pods(documents: list[dict[str, Any]]) -> list[SimpleNamespace]:
    sets = [each for each in documents if each["kind"] in ("Deployment", "StatefulSet")]
    return [SimpleNamespace(name=each["metadata"]["name"], **each["spec"]["template"]) for each in sets]


def test_every_pod_is_unprivileged(rendered: dict[str, list[dict[str, Any]]]) -> None:
    for documents in rendered.values():
        assert {pod.name for pod in pods(documents)} == {"redis", "inference-server", "sim-worker", "trainer-job"}
        for pod in pods(documents):
            [container] = pod.spec["containers"]
            assert pod.spec["securityContext"]["runAsNonRoot"]
            assert pod.spec["automountServiceAccountToken"] is False
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert {"requests", "limits"} <= container["resources"].keys()


def test_settings_of_the_manifests_are_settings(rendered: dict[str, list[dict[str, Any]]]) -> None:
    for documents in rendered.values():
        maps = {each["metadata"]["name"]: each["data"] for each in documents if each["kind"] == "ConfigMap"}
        for pod in pods(documents):
            settings = SETTINGS.get(pod.name.replace("-", "_"))
            if settings:
                [container] = pod.spec["containers"]
                given = [each["name"] for each in container["env"]]
                given += [key for each in container["envFrom"] for key in maps[each["configMapRef"]["name"]]]
                others = {name.upper() for kind in SETTINGS.values() for name in kind.model_fields}
                assert set(given) <= others | {"QUEUE_PASSWORD"}
                assert len(given) == len(set(given))


def test_secrets_hold_what_the_pods_ask_for(rendered: dict[str, list[dict[str, Any]]]) -> None:
    made = subprocess.run([str(MANIFESTS / "secrets.sh")], capture_output=True, text=True, check=True).stdout
    secrets = {each["metadata"]["name"]: each["stringData"] for each in yaml.safe_load_all(made)}
    asked = {
        (reference["name"], reference["key"])
        for documents in rendered.values()
        for pod in pods(documents)
        for variable in pod.spec["containers"][0].get("env", [])
        if (reference := variable.get("valueFrom", {}).get("secretKeyRef"))
    }
    assert asked
    assert all(key in secrets[name] for name, key in asked)
    assert f":{secrets['grasploop-keys']['worker_key']}" in secrets["grasploop-keys"]["api_keys"]
    values = [value for secret in secrets.values() for name, value in secret.items() if name != "api_keys"]
    assert len(set(values)) == len(values)
