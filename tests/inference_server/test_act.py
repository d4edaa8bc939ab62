"""`POST /act`: a policy's next movement, the version that its episode began with, and who is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from safetensors.torch import save
from serving import Running, publish_dense, serving, settings
from waiting import wait_until

from grasp_client import GraspClient, InvalidRequest
from grasp_client.contract import CameraIntrinsics
from grasp_client.geometry import pose_from
from grasp_client.imaging import encode_npy
from inference_server.batching.batcher import Batcher
from inference_server.metrics import Metrics
from inference_server.policies.policy import as_seen_by
from shared.features.eye_in_hand import DEPTH_SPAN, SIDE, picture
from shared.networks.picture_actor import PictureActor
from shared.registry import ModelCard, Registry

CAMERA = {"fx": 77.25, "fy": 77.25, "cx": 31.5, "cy": 31.5}
MOUNT = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.8776, -0.4794, 0.065], [0.0, 0.4794, 0.8776, -0.1112], [0.0, 0.0, 0.0, 1.0]]
OPTIONS: dict[str, Any] = {"camera": CAMERA, "hand_camera_pose": MOUNT}
TERMS: dict[str, Any] = {
    "observation": "depth", "camera": CAMERA, "mount": MOUNT, "steps": 100, "movement": [[0.01, 0], [0, -0.01], [0, 0], [0, 0]],
    "still": [0, 0, 0.001, 0], "position": [[0.1, 0, 0], [0, -0.1, 0], [0, 0, -0.1]],
}  # fmt: skip
SEEN = (0.2 + 0.1 * np.random.default_rng(0).random((SIDE, SIDE))).astype(np.float32)


def policy(seed: int, channels: int = 1, actions: int = 2) -> PictureActor:
    torch.manual_seed(seed)
    return PictureActor(channels, actions).eval()


def publish(models: Path, name: str, actor: PictureActor, **terms: Any) -> int:
    registry = Registry(models)
    card: Any = {"name": name, "architecture": "picture-actor", "parameters": actor.parameters_of_card}
    version = registry.publish(name, save(actor.state_dict()), ModelCard(**card, policy=TERMS | terms))
    registry.promote(name, version)
    return version


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    publish(folder, "closed-loop-depth", policy(0))
    publish(folder, "closed-loop-grey", policy(1), observation="grey")
    turning = {"movement": np.eye(4, 5).tolist(), "still": [0, 0, 0, 0], "steps": 40, "close_above": -2.0}
    publish(folder, "ends-at-once", policy(2, actions=5), **turning)
    publish_dense(folder, 0)
    return folder


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[Running]:
    with serving(settings(models)) as running:
        yield running


def ask(server: Running, depth: np.ndarray = SEEN, **options: Any) -> httpx.Response:
    headers = {
        "content-type": "application/octet-stream", "x-shape": f"{depth.shape[0]},{depth.shape[1]}", "x-dtype": "float32",
        "x-request": json.dumps(OPTIONS | options),
    }  # fmt: skip
    return server.client.post("/act", content=depth.tobytes(), headers=headers)


def test_it_moves_as_the_actor_says(server: Running) -> None:
    with torch.inference_mode():
        said = policy(0)(torch.from_numpy(picture("depth", SEEN, None))[None])[0].numpy()
    reply = ask(server).json()
    assert reply["model"] == {"name": "closed-loop-depth", "version": 1}
    assert reply["delta"] == pytest.approx([0.01 * said[0], -0.01 * said[1], 0.001], abs=1e-7)
    assert reply["position"] == pytest.approx([0.1 * said[2], -0.1 * said[3], -0.1 * said[4]], abs=1e-6)
    assert (reply["yaw"], reply["close"], reply["steps"]) == (0.0, False, 100)
    assert {"decode", "queue", "plan", "total"} <= reply["timings_ms"].keys()


def test_all_three_ways_say_the_same(server: Running) -> None:
    raw = ask(server).json()["delta"]
    npy = {"content-type": "application/x-npy"}
    bare = server.client.post("/act", params={"request": json.dumps(OPTIONS)}, content=encode_npy(SEEN), headers=npy)
    assert bare.json()["delta"] == raw
    assert server.form(OPTIONS, "/act", depth=encode_npy(SEEN)).json()["delta"] == raw


def test_the_client_sends_depth_and_colours(server: Running) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    with GraspClient(server.url) as client:
        assert client.act(SEEN, **OPTIONS).delta == pytest.approx(ask(server).json()["delta"], abs=1e-6)
        by_colour = client.act(rgb=rgb, camera=CAMERA, hand_camera_pose=np.array(MOUNT))
        assert by_colour.model.name == "closed-loop-grey"
        with pytest.raises(ValueError, match="one kind"):
            client.act(**OPTIONS)
        with pytest.raises(InvalidRequest, match="acts on depth"):
            client.act(rgb=rgb, policy="closed-loop-depth", **OPTIONS)


def test_a_close_stands_still(server: Running) -> None:
    reply = ask(server, policy="ends-at-once").json()
    assert reply["close"] is True
    assert reply["delta"] == [0, 0, 0]
    assert reply["yaw"] == 0
    assert reply["steps"] == 40


def test_a_camera_elsewhere_on_the_hand_is_refused(server: Running) -> None:
    def moved(metres: float, degrees: float) -> list[list[float]]:
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
        return (np.array(MOUNT) @ pose_from(turn, np.array([metres, 0, 0]))).tolist()

    assert ask(server, hand_camera_pose=moved(0.0009, 0.25)).status_code == 200
    for off, said in ((moved(0.003, 0), "3.0 mm and 0.0°"), (moved(0, 1), "0.0 mm and 1.0°")):
        reply = ask(server, hand_camera_pose=off)
        assert reply.status_code == 422
        assert reply.json()["error"]["code"] == "other_mount"
        assert said in reply.json()["error"]["message"]
        assert "closed-loop-depth version 1" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"policy": "closed-loop-grey"}, 422, "other_observation"),
        ({"policy": "dense"}, 422, "no_policy"),
        ({"policy": "nobody"}, 404, "unknown_model"),
        ({"model_version": 9}, 404, "unknown_model"),
        ({"camera": {**CAMERA, "fx": 200.0}}, 422, "narrow_view"),
        ({"camera": {**CAMERA, "width": 640, "height": 400}}, 422, "camera_size"),
        ({"hand_camera_pose": None}, 422, "invalid_field"),
        ({"epoch": 3}, 422, "invalid_field"),
    ],
)
def test_what_cannot_be_acted_on_is_refused(server: Running, options: dict, status: int, code: str) -> None:
    reply = ask(server, **options)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code), reply.text


def test_another_camera_sees_the_same_as_the_policys_own() -> None:
    """A ramp of depth in rays: whatever the intrinsics, a ray's depth is the same."""

    def ramp(camera: CameraIntrinsics, rows: int, columns: int) -> np.ndarray:
        v, u = np.mgrid[:rows, :columns]
        return (0.3 + 0.1 * (u - camera.cx) / camera.fx + 0.05 * (v - camera.cy) / camera.fy).astype(np.float32)

    own, large = CameraIntrinsics(**CAMERA), CameraIntrinsics(fx=600, fy=610, cx=330, cy=235)
    wanted = ramp(own, SIDE, SIDE)
    seen = as_seen_by(own, ramp(large, 480, 640), large)
    shown = seen > 0  # the rim that the sent picture does not show is a hole
    assert shown.mean() > 0.9
    assert np.abs(seen - wanted)[shown].max() < 2e-4
    colours = np.repeat((ramp(large, 480, 640) * 255).astype(np.uint8)[..., None], 3, axis=2)
    assert np.abs(as_seen_by(own, colours, large)[..., 0].astype(float) - wanted * 255)[shown].max() < 2.5
    barrel = large.model_copy(update={"distortion": [-0.2, 0.0, 0.0, 0.0]})
    middle, rim = (slice(28, 36),) * 2, (slice(30, 34), slice(0, 4))
    bent = as_seen_by(own, ramp(large, 480, 640), barrel)
    assert np.abs(bent - wanted)[middle].max() < 1e-3
    assert (bent - wanted)[rim].min() > 1e-3  # lies farther in than a lens without distortion would show it
    assert picture("depth", np.zeros((SIDE, SIDE), np.float32), None).min() == 255, DEPTH_SPAN


def test_an_episode_keeps_its_version_and_reloads_fail_nobody(tmp_path: Path) -> None:
    publish(tmp_path, "closed-loop-depth", policy(0))
    with serving(settings(tmp_path)) as server:
        first = ask(server, episode="a").json()
        version = publish(tmp_path, "closed-loop-depth", policy(5))
        answered: list[int] = []

        def promoted() -> bool:
            for episode in ("a", None):
                reply = ask(server, **({"episode": episode} if episode else {}))
                assert reply.status_code == 200, reply.text
                answered.append(reply.json()["model"]["version"])
            return answered[-1] == version

        wait_until(promoted)
        assert set(answered[0::2]) == {1}  # the episode
        assert ask(server, episode="a").json()["delta"] == first["delta"]
        assert ask(server, episode="b").json()["model"]["version"] == version
        assert ask(server, episode="a", model_version=version).json()["model"]["version"] == version
        listed = {entry["name"]: entry for entry in server.client.get("/models").json()["models"]}
        assert listed["closed-loop-depth"]["serving"] == version
        assert server.client.post("/models/closed-loop-depth/rollback").status_code in (200, 401, 403)


def test_a_policy_that_comes_later_is_found(tmp_path: Path) -> None:
    publish_dense(tmp_path, 0)
    with serving(settings(tmp_path)) as server:
        assert ask(server).status_code == 404
        publish(tmp_path, "closed-loop-depth", policy(0))
        wait_until(lambda: server.service.weights.versions().get("closed-loop-depth") == 1)
        assert ask(server).status_code == 200


def test_a_card_without_terms_says_which(tmp_path: Path) -> None:
    publish(tmp_path, "closed-loop-depth", policy(0), mount=[[1.0]])
    with serving(settings(tmp_path)) as server:
        reply = ask(server)
    assert reply.json()["error"]["code"] == "broken_model"
    assert "wrong policy: mount.0" in reply.json()["error"]["message"]


def test_a_step_overtakes_plans_that_would_make_it_late() -> None:
    batcher = Batcher(8, Metrics())
    batcher.estimator.seconds_per_job = 1.0
    deadline = batcher.clock() + 0.5
    batcher.reserve("a", batcher.clock() + 60)
    with pytest.raises(Exception, match="requests come first"):
        batcher.reserve("b", deadline)
    batcher.check_room("b acts", deadline, overtakes=True)
    assert batcher.reserve("b acts", deadline, overtakes=True).open
