"""`Servo`: the loop of a robot, here the simulated hand, with the policy that ships behind the real server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from places import SHIPPED
from serving import Running, serving, settings

from grasp_client import GraspClient, Servo
from grasp_client.contract import Action, CameraIntrinsics
from sim_worker.envs.closed_loop import DESCENT, MOST_SHIFT, STEPS, ClosedLoop

POLICY = "closed-loop-depth"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With the one policy that ships, which is asked for."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(SHIPPED / POLICY, models / POLICY)
    with serving(settings(models)) as running:
        yield running


@pytest.fixture
def environment() -> Iterator[ClosedLoop]:
    made = ClosedLoop(level=4)
    yield made
    made.close()


def test_a_hand_is_steered_over_the_wire(server: Running, environment: ClosedLoop) -> None:
    terms = environment.interface()
    seen, _ = environment.reset(seed=3)
    shown: dict[str, Any] = {"picture": seen}
    ended: list[dict[str, Any]] = []

    def observe() -> np.ndarray:
        return shown["picture"][0] / 255 * np.float32(0.5)

    def move(action: Action) -> None:
        assert not ended, "a hand that has closed is not moved"
        x, y, z, _ = np.array(action.pose)[:, 3]
        assert z == pytest.approx(DESCENT)
        shown["picture"], _, over, _, info = environment.step(np.array([x, -y]) / MOST_SHIFT)
        if over:
            ended.append({**info, "told": action.close})

    with GraspClient(server.url) as client:
        servo = Servo(client, camera=CameraIntrinsics(**terms["camera"]), hand_camera_pose=terms["mount"], policy=POLICY)
        done = servo.run(observe, move)
    assert len(done) == STEPS
    assert [action.close for action in done] == [False] * (STEPS - 1) + [True]
    assert ended == [{"is_success": True, "distance": ended[0]["distance"], "told": True}]
