"""A server that knows the arm refuses what that does not reach, and says where it cannot tell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import DEPTH, OPTIONS, PNG, RGB_PNG, Running, serving, settings

from grasp_client.contract import ActionPlan, GraspPlan

pytest.importorskip("pinocchio", reason="what an arm reaches needs Pinocchio: pip install 'grasploop[reach]'")

import pybullet_data

PANDA = Path(pybullet_data.getDataPath()) / "franka_panda/panda.urdf"


@pytest.fixture(scope="module")
def armed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("arms")
    tool = [[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0.1124], [0, 0, 0, 1]]
    arms = {"*": {"urdf": str(PANDA), "tool": "panda_hand", "tool_pose": tool}}
    (folder / "arms.json").write_text(json.dumps(arms))
    with serving(settings(folder / "models", arms=folder / "arms.json")) as running:
        yield running


def looking_down(x: float) -> list[list[float]]:
    """Pose of the camera, as high over the base as the table is away."""
    return [[1, 0, 0, x], [0, -1, 0, 0], [0, 0, -1, float(DEPTH.max())], [0, 0, 0, 1]]


def plan(running: Running, path: str = "/predict_grasp", **options: Any) -> dict[str, Any]:
    files = {"depth": ("depth.png", PNG), "request": (None, json.dumps({**OPTIONS, **options}))}
    answer = running.client.post(path, files=files)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_the_arm_does_not_reach_is_refused(armed: Running) -> None:
    near = GraspPlan.model_validate(plan(armed, camera_pose=looking_down(0.5)))
    assert near.grasps
    assert "unreachable" not in near.rejections
    far = GraspPlan.model_validate(plan(armed, camera_pose=looking_down(2.0), explain=True))
    assert not far.grasps
    assert far.rejections["unreachable"] > 0
    assert far.refused[0].reason == "unreachable"
    assert GraspPlan.model_validate(plan(armed, camera_pose=looking_down(2.0), reach=False)).grasps


def test_actions_are_of_what_the_arm_reaches(armed: Running) -> None:
    height, width = DEPTH.shape
    asked = {"point": [width / 2, height / 2], "push": {"allow_clear": False}}
    near = ActionPlan.model_validate(plan(armed, "/predict_action", camera_pose=looking_down(0.5), **asked))
    assert near.grasps
    far = ActionPlan.model_validate(plan(armed, "/predict_action", camera_pose=looking_down(2.0), **asked))
    assert not far.grasps
    assert far.rejections["unreachable"] > 0


def test_a_warning_says_where_it_cannot_be_told(armed: Running) -> None:
    found = plan(armed)
    assert found["grasps"]
    assert any(text.startswith("reach_unknown:") for text in found["warnings"])
    assert not any(text.startswith("reach_unknown:") for text in plan(armed, reach=False)["warnings"])
    without_camera = plan(armed, camera=None, camera_pose=looking_down(0.5))
    assert any(text.startswith("reach_unknown:") for text in without_camera["warnings"])


def test_whoever_needs_the_check_is_refused_where_there_is_none(server: Running) -> None:
    asked = {**OPTIONS, "camera_pose": looking_down(0.5), "reach": True}
    files = {"depth": ("depth.png", PNG), "request": (None, json.dumps(asked))}
    answer = server.client.post("/predict_grasp", files=files)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "no_arm"
    del asked["camera_pose"]
    answer = server.client.post("/predict_grasp", files={"rgb": ("rgb.png", RGB_PNG), "request": (None, json.dumps(asked))})
    assert answer.status_code == 422
    assert "camera_pose" in answer.json()["error"]["message"]


def test_a_file_that_cannot_be_used_ends_the_start(tmp_path: Path) -> None:
    from inference_server.app import create_app

    with pytest.raises(ValueError, match=r"ARMS: .*cannot be read"):
        create_app(settings(tmp_path, arms=tmp_path / "none.json"))
