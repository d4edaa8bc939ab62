"""GraspGen's protocol over a real socket, spoken by a client that is written from the protocol alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from serving import CLOUD, THING, publish_dense, serving, settings
from waiting import PATIENCE

from services.queue import ReservedPort

msgpack, zmq = pytest.importorskip("msgpack"), pytest.importorskip("zmq")

OFFSET = 0.1


class Client:
    """A REQ socket; arrays travel as maps of their type, shape and bytes."""

    def __init__(self, port: int) -> None:
        self.socket = zmq.Context.instance().socket(zmq.REQ)
        self.socket.setsockopt(zmq.RCVTIMEO, int(PATIENCE * 1e3))
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(f"tcp://127.0.0.1:{port}")

    def send(self, message: bytes) -> Any:
        self.socket.send(message)
        return msgpack.unpackb(self.socket.recv(), raw=False, object_hook=self._array, strict_map_key=False)

    def __call__(self, action: str, **fields: Any) -> Any:
        return self.send(msgpack.packb({"action": action, **fields}, default=self._map, use_bin_type=True))

    def _map(self, array: np.ndarray) -> dict[bytes, Any]:
        return {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": array.shape, b"data": array.tobytes()}

    def _array(self, found: dict[Any, Any]) -> Any:
        if b"nd" not in found:
            return found
        return np.frombuffer(found[b"data"], found[b"type"]).reshape(found[b"shape"])


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    models = tmp_path_factory.mktemp("models")
    publish_dense(models, 0)
    reserved = ReservedPort()
    with serving(settings(models, graspgen_port=reserved.number, graspgen_base_offset=OFFSET)):
        yield reserved.number


@pytest.fixture
def ask(port: int) -> Iterator[Client]:
    client = Client(port)
    yield client
    client.socket.close()


def test_health_and_metadata(ask: Client) -> None:
    assert ask("health")["status"] == "ok"
    about = ask("metadata")
    assert about["gripper_name"] == "franka_hand"
    assert about["models"]["dense"] == 1


def test_grasps_are_poses_at_the_grippers_base_in_the_frame_of_the_cloud(ask: Client) -> None:
    reply = ask("infer", point_cloud=THING, num_grasps=200, topk_num_grasps=5, grasp_threshold=-1.0)
    grasps = reply["grasps"]
    assert grasps.dtype == np.float32
    assert grasps.shape == (reply["num_grasps"], 4, 4)
    assert 1 <= len(grasps) <= 5
    assert (np.diff(reply["confidences"]) <= 0).all()
    assert reply["timing"]["infer_ms"] > 0
    tips = grasps[:, :3, 3] + OFFSET * grasps[:, :3, 2]
    low, high = THING.min(0) - 0.03, THING.max(0) + 0.03
    assert ((tips > low) & (tips < high)).all()
    np.testing.assert_allclose(grasps[:, :3, 2], [[0, 0, 1]] * len(grasps), atol=0.02)  # along the camera's axis
    assert any(text.startswith("no_viewpoint") for text in reply["warnings"])


def test_what_surrounds_the_object_may_come_along(ask: Client) -> None:
    reply = ask("infer", point_cloud=THING.tolist(), scene_point_cloud=CLOUD.astype(np.float64), grasp_threshold=0.0)
    assert reply["num_grasps"] >= 1
    assert not any(text.startswith("no_surroundings") for text in reply["warnings"])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"action": "infer"}, "point_cloud"),
        ({"action": "infer", "point_cloud": 1000 * THING}, "millimetres"),
        ({"action": "infer", "point_cloud": THING.T}, "transpose"),
        ({"action": "infer", "point_cloud": THING, "num_grasps": "many"}, "num_grasps"),
        ({"action": "infer", "point_cloud": [["a"]]}, "point_cloud"),
        ({"action": "stop"}, "unknown action"),
        ({}, "unknown action"),
    ],
)
def test_what_cannot_be_answered_is_told(ask: Client, fields: dict[str, Any], said: str) -> None:
    assert said in ask.send(msgpack.packb(fields, default=ask._map, use_bin_type=True))["error"]


@pytest.mark.parametrize("message", [b"", b"nonsense", msgpack.packb([1, 2]), msgpack.packb({b"nd": True, b"type": "|O"})])
def test_no_message_ends_the_front(ask: Client, message: bytes) -> None:
    assert ask.send(message)["error"]
    assert ask("health")["status"] == "ok"


def test_clients_do_not_wait_for_each_other(port: int) -> None:
    clients = [Client(port) for _ in range(4)]
    for client in clients:
        fields = {"action": "infer", "point_cloud": THING}
        client.socket.send(msgpack.packb(fields, default=client._map, use_bin_type=True))
    answers = [msgpack.unpackb(client.socket.recv(), raw=False, object_hook=client._array) for client in reversed(clients)]
    assert all(answer["num_grasps"] for answer in answers)
    for client in clients:
        client.socket.close()


@pytest.mark.parametrize(
    ("changes", "said"), [({"api_keys": "k"}, "no keys"), ({"graspgen_gripper": "claw"}, "claw")], ids=["keys", "gripper"]
)
def test_settings_that_cannot_work_are_refused_at_the_start(tmp_path: Any, changes: dict[str, Any], said: str) -> None:
    from inference_server.app import create_app

    with pytest.raises(ValueError, match=said):
        create_app(settings(tmp_path, graspgen_port=1024, **changes))  # nobody comes to listen there
