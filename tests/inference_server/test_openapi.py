"""The OpenAPI document and the probes say what the server does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.openapi.models import OpenAPI
from serving import Running


def document(server: Running) -> dict:
    return server.client.get("/openapi.json").json()


def test_it_is_valid_and_every_reference_leads_somewhere(server: Running) -> None:
    found = document(server)
    OpenAPI.model_validate(found)
    for name in set(re.findall(r'"#/components/schemas/([^"]+)"', str(found).replace("'", '"'))):
        assert name in found["components"]["schemas"], name


def test_all_transports_and_errors_are_declared(server: Running) -> None:
    operation = document(server)["paths"]["/predict_grasp"]["post"]
    assert set(operation["requestBody"]["content"]) == {
        "multipart/form-data", "image/png", "image/jpeg", "application/x-npy", "application/octet-stream",
    }  # fmt: skip
    headers = {parameter["name"] for parameter in operation["parameters"]}
    assert {"request", "X-Request", "X-Shape", "X-Dtype", "X-Deadline-Ms", "X-Request-ID"} <= headers
    assert {"200", "400", "401", "403", "404", "413", "415", "422", "429", "503", "504"} <= set(operation["responses"])
    reference = operation["responses"]["429"]["content"]["application/json"]["schema"]["$ref"]
    assert reference.endswith("/ErrorReply")
    assert "curl" in operation["description"]


def test_failed_grasps_are_declared(server: Running) -> None:
    schemas = server.client.get("/openapi.json").json()["components"]["schemas"]
    assert schemas["PlanRequest"]["properties"]["failed"]["items"]["$ref"].endswith("/FailedGrasp")
    assert set(schemas["FailedGrasp"]["properties"]) == {"center_px", "angle", "depth", "quality", "pose_camera", "pose_base"}


def test_keys_are_declared_where_they_are_needed(server: Running) -> None:
    paths = document(server)["paths"]
    assert paths["/predict_grasp"]["post"]["security"]
    assert "security" not in paths["/ready"]["get"]
    # What is no HTTP, and a foreign Host, are refused whatever is asked for.
    assert all({"400", "403"} <= set(operation["responses"]) for path in paths.values() for operation in path.values())


def test_ready_says_what_is_loaded(server: Running) -> None:
    response = server.client.get("/ready")
    state = response.json()
    assert response.status_code == 200
    assert state["ready"]
    assert state["warm"]
    assert state["device"] == "cpu"
    assert state["threads"] == 1
    assert state["models"] == {"dense": 1}
    assert {"antipodal", "dense"} <= set(state["planners"])


def test_metrics_count_requests_by_endpoint(server: Running) -> None:
    server.client.get("/models/dense")
    server.client.get("/nowhere")
    assert server.raw().status_code == 200
    text = server.client.get("/metrics").text
    assert 'grasp_requests_total{endpoint="/models/{name}",status="200"}' in text
    assert 'grasp_requests_total{endpoint="unknown",status="404"}' in text
    for series in (
        "grasp_queue_depth",
        "grasp_batch_size_bucket",
        "grasp_stage_seconds_bucket",
        "process_resident_memory_bytes",
    ):
        assert series in text


def explore(server: Running, folder: Path, examples: int) -> None:
    """Requests made up from the document; every answer must be one that it declares (a 500 is not)."""
    checks = "status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", "--checks", checks]
    command += ["--max-examples", str(examples), "--phases", "examples,fuzzing", "--generation-database", "none", "--no-color"]
    command += ["--suppress-health-check", "all"]  # a slow machine is no fault of the server
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=1200, check=False)
    assert found.returncode == 0, found.stdout[-5000:] + found.stderr[-2000:]
    assert "passed" in found.stdout


def test_what_is_declared_is_what_is_answered(server: Running, tmp_path: Path) -> None:
    explore(server, tmp_path, 2)


@pytest.mark.slow
def test_what_is_declared_is_what_is_answered_at_length(server: Running, tmp_path: Path) -> None:
    explore(server, tmp_path, 50)


def test_metrics_count_refusals_by_code(server: Running) -> None:
    assert server.raw(options={"planner": "nothing"}).status_code == 404
    assert 'grasp_rejected_total{reason="unknown_planner"}' in server.client.get("/metrics").text
