"""A body's landmarks to joints of arms: slopes with their quadrant, bounded, for both sides."""

from __future__ import annotations

import math
import socket
import threading

import pytest

from sim_worker.teleop.human_pose import ASIDE, MOST_BEND, MOST_SLOPE, arm_joints, joints_of, upper_arm_share
from sim_worker.teleop.tcp_arm import SIZE, TcpArm, address_of, servo_degrees


def body(right: tuple[float, float], left: tuple[float, float]) -> list[list[float]]:
    """33 landmarks of somebody who faces the camera; angles (upper arm, forearm) of each side over the horizontal, rad."""
    points = [[0.5, 0.5, 0.0, 1.0] for _ in range(33)]
    for side, (shoulder, elbow, wrist), outwards, (upper, fore) in (
        ("right", (12, 14, 16), -1, right),
        ("left", (11, 13, 15), 1, left),
    ):
        assert side
        points[shoulder] = [0.5 + 0.1 * outwards, 0.4]
        points[elbow] = [points[shoulder][0] + 0.1 * outwards * math.cos(upper), 0.4 - 0.1 * math.sin(upper)]
        points[wrist] = [points[elbow][0] + 0.1 * outwards * math.cos(fore), points[elbow][1] - 0.1 * math.sin(fore)]
    return points


@pytest.mark.parametrize(
    ("angles", "expected"),
    [
        ((0.0, 0.0), (0.0, 0.0)),
        ((0.3, 0.5), (0.3, 0.2)),
        ((-0.4, 0.4), (-0.4, 0.8)),
        ((1.2, 1.2), (MOST_SLOPE, 0.0)),
        ((math.radians(100), math.radians(100)), (MOST_SLOPE, 0.0)),  # across the body, and yet up
        ((-1.2, 1.5), (-MOST_SLOPE, MOST_BEND)),
    ],
)
def test_both_arms_mean_what_they_show(angles, expected) -> None:
    mirrored = -angles[0] / 2, angles[1] / 2
    found = joints_of(body(angles, mirrored))
    assert found["right"] == pytest.approx(expected, abs=1e-6)
    assert found["left"][0] == pytest.approx(max(-MOST_SLOPE, min(MOST_SLOPE, mirrored[0])), abs=1e-6)


def test_joints_stand_where_the_arm_has_them() -> None:
    assert arm_joints(0.3, -0.2, 1.0) == [ASIDE, 0.0, 0.0, 0.3, -0.2, 1.0]
    assert upper_arm_share(MOST_SLOPE) == 1
    assert upper_arm_share(-2.0) == -1


def test_an_arm_gets_six_floats_on_a_real_socket() -> None:
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def arm() -> None:
            connection, _ = listening.accept()
            with connection:
                while data := connection.recv(SIZE, socket.MSG_WAITALL):
                    got.append(data)

        thread = threading.Thread(target=arm)
        thread.start()
        client = TcpArm(*address_of(f"127.0.0.1:{listening.getsockname()[1]}"))
        client.send(arm_joints(0.0, 0.5, 1.0))
        client.send(arm_joints(-0.67, 0.0, 0.0))
        with pytest.raises(ValueError, match="6 numbers"):
            client.send([1.0])
        client.close()
        thread.join(10)
    assert [len(each) for each in got] == [24, 24]
    assert servo_degrees(got[0]) == [179, 89, 89, 89, 118, 101]
    assert servo_degrees(got[1])[3] == int((-0.67 + 1.57) * 57.3)
    assert address_of("arm") == ("arm", 65432)
    with pytest.raises(ValueError, match="HOST:PORT"):
        address_of("arm:door")
