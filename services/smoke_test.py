"""Asks a server for an answer of every model of a registry: `python -m services.smoke_test --models models`.

Every champion must answer on a block on a table: through the planners that use it, by valuing pushes, or, where none does, by
scoring a grasp.
Ends with status 1 when one does not.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from grasp_client.contract import PlannerEntry, Planners
from grasp_client.imaging import encode_npy
from inference_server.models.warm import block_on_table
from planning.push.values import MODEL as PUSH_VALUES
from services.queue import ReservedPort
from shared.registry import Registry

START_SECONDS, REPLY_SECONDS = 180.0, 120.0
CAMERA = {"fx": 300.0, "fy": 300.0, "cx": 159.5, "cy": 119.5}
TABLE, TOP = 0.70, 0.65
"""Distances from the camera to the table and to the top of the block, m."""
CUP_RADIUS = 0.0075


def ask_planner(client: httpx.Client, planner: PlannerEntry) -> str:
    """What is wrong with the planner's answer; nothing when it is fine."""
    seen = block_on_table()
    gripper = {"kind": planner.grippers[0], "cup_radius": CUP_RADIUS}
    request = {"planner": planner.name, "camera": CAMERA, "table_depth": TABLE, "gripper": gripper}
    images = {name: encode_npy(getattr(seen, name)) for name in planner.inputs}
    reply = client.post("/predict_grasp", files=images, data={"request": json.dumps(request)})
    if reply.status_code != 200:
        return f"status {reply.status_code}: {reply.text[:300]}"
    plan = reply.json()
    if plan["model"] != {"name": planner.model, "version": planner.version}:
        return f"answered with {plan['model']}, expected version {planner.version} of {planner.model}"
    return "" if plan["grasps"] else f"no grasp on a block: {plan['rejections']}"


def ask_quality(client: httpx.Client, model: str) -> str:
    """What is wrong with the quality that a model gives to a grasp of the block; nothing when it is fine."""
    grasp = {"center_px": [CAMERA["cx"], CAMERA["cy"]], "angle": 0.0, "depth": TOP}
    request = {"model": model, "camera": CAMERA, "grasps": [grasp]}
    depth = block_on_table().depth
    assert depth is not None
    reply = client.post("/gqcnn", files={"depth": encode_npy(depth)}, data={"request": json.dumps(request)})
    if reply.status_code != 200:
        return f"status {reply.status_code}: {reply.text[:300]}"
    quality = reply.json()["quality"]
    return "" if len(quality) == 1 and 0 <= quality[0] <= 1 else f"expected one probability, got {quality}"


def ask_pushes(client: httpx.Client) -> str:
    """What is wrong with the pushes that are proposed for the block, and with their values; nothing when they are fine."""
    depth = block_on_table().depth
    assert depth is not None
    request = {"camera": CAMERA, "table_depth": TABLE, "push": {"threshold": 1.0, "allow_clear": False}}
    images = {"depth": encode_npy(depth), "goal": encode_npy((depth < (TABLE + TOP) / 2).astype(np.uint8))}
    reply = client.post("/predict_action", files=images, data={"request": json.dumps(request)})
    if reply.status_code != 200:
        return f"status {reply.status_code}: {reply.text[:300]}"
    plan = reply.json()
    if (plan["model"] or {}).get("name") != PUSH_VALUES:
        return f"pushes were valued by {plan['planner']}, expected {PUSH_VALUES}"
    return "" if plan["pushes"] else f"no push of a block: {plan['push_rejections']}"


def ask_all(client: httpx.Client, models: Sequence[str]) -> dict[str, str]:
    """By `planner (model)`, `/predict_action (model)` or `/gqcnn (model)`: what is wrong with the answer, or nothing."""
    planners = Planners.model_validate_json(client.get("/planners").content).planners
    answers: dict[str, str] = {}
    for model in models:
        users = [planner for planner in planners if planner.model == model]
        for planner in users:
            answers[f"{planner.name} ({model})"] = ask_planner(client, planner)
        if model == PUSH_VALUES:
            answers[f"/predict_action ({model})"] = ask_pushes(client)
        elif not users:
            answers[f"/gqcnn ({model})"] = ask_quality(client, model)
    return answers


@contextmanager
def server(models: Path) -> Iterator[httpx.Client]:
    """A client of a server of its own over a registry. Raises RuntimeError when it does not become ready."""
    port = ReservedPort()
    settings = {"MODELS_DIR": str(models), "HOST": "127.0.0.1", "PORT": str(port.number), "LOG_LEVEL": "warning"}
    process = subprocess.Popen([sys.executable, "-m", "inference_server"], env=os.environ | settings)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port.number}", timeout=REPLY_SECONDS) as client:
            _wait(client, process)
            yield client
    finally:
        process.terminate()
        process.wait()
        port.release()


def _wait(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode} before it was ready")
        try:
            state = client.get("/ready").json()
            if state["ready"] or state["failures"]:  # what failed to load is named by the answers
                return
        except httpx.TransportError:
            pass  # it does not listen yet
        time.sleep(0.2)
    raise RuntimeError(f"the server was not ready within {START_SECONDS:g} s")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m services.smoke_test", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="registry whose champions are asked")
    parser.add_argument("--names", nargs="+", metavar="MODEL", help="the models to ask; none: all that are there")
    options = parser.parse_args(arguments)
    names = options.names or Registry(options.models).names()
    if not names:
        print(f"answers: no model in {options.models}", file=sys.stderr)
        return 1
    try:
        with server(options.models) as client:
            answers = ask_all(client, names)
    except RuntimeError as error:
        print(f"answers: {error}", file=sys.stderr)
        return 1
    for name, wrong in answers.items():
        print(f"{name}: {wrong or 'answers'}", flush=True)
    return int(any(answers.values()))


if __name__ == "__main__":
    sys.exit(main())
