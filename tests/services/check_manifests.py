"""Checks the rendered Kubernetes manifests: `check_manifests.py services/kubernetes WORK`; run by check_manifests.sh."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudcoil.models.keda.v1alpha1 as keda
import kubernetes_validate
import yaml

VERSIONS = ("1.30", "1.33")
"""Of Kubernetes: the oldest and newest that are meant to work."""
WITHOUT_SCHEMA = {"ServiceMonitor", "PrometheusRule"}
"""Of the Prometheus operator; the rules are put to a Prometheus in the container tests."""


def rendered(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{folder}: {done.stderr}")
    return list(yaml.safe_load_all(done.stdout))


def check(document: dict[str, Any]) -> str:
    """Raises what the schema's library raises. Returns how it was checked."""
    kind = document["kind"]
    if document["apiVersion"].startswith("keda.sh/"):
        model = getattr(keda, kind)
        kept = model.model_validate(document).model_dump(by_alias=True, exclude_none=True, mode="json")
        if lost := unknown(document["spec"], kept["spec"]):
            raise ValueError(f"KEDA knows no {', '.join(lost)}")
        return "keda"
    if kind in WITHOUT_SCHEMA:
        return "no schema"
    for version in VERSIONS:
        kubernetes_validate.validate(document, version, strict=True)
    return "kubernetes"


def unknown(sent: Any, kept: Any, path: str = "spec") -> list[str]:
    """Paths of fields that a model has dropped."""
    if isinstance(sent, dict):
        return [
            each
            for name, value in sent.items()
            for each in (unknown(value, kept[name], f"{path}.{name}") if name in kept else [f"{path}.{name}"])
        ]
    if isinstance(sent, list):
        return [each for ours, theirs in zip(sent, kept, strict=True) for each in unknown(ours, theirs, path)]
    return []


def main(manifests: Path, work: Path) -> None:
    folders = [manifests / "base", *sorted((manifests / "overlays").iterdir())]
    for component in sorted((manifests / "components").iterdir()):
        # A component cannot be rendered alone.
        folder = work / component.name
        folder.mkdir()
        resources = [os.path.relpath(manifests / "base", folder)]
        overlay = {"resources": resources, "components": [os.path.relpath(component, folder)]}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        folders.append(folder)
    secrets = subprocess.run([str(manifests / "secrets.sh")], capture_output=True, text=True, check=True).stdout
    groups = {folder.name: rendered(folder) for folder in folders} | {"secrets.sh": list(yaml.safe_load_all(secrets))}
    failed = False
    for name, documents in groups.items():
        ways: dict[str, int] = {}
        for document in documents:
            try:
                way = check(document)
                ways[way] = ways.get(way, 0) + 1
            except Exception as error:
                failed = True
                print(f"{name}: {document['kind']} {document['metadata']['name']}: {error}")
        print(f"{name}: {len(documents)} documents, checked: {', '.join(f'{count} by {way}' for way, count in ways.items())}")
    sys.exit(failed)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
