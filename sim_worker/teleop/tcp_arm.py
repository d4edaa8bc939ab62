"""Real arms on a TCP connection, six native float32 a message: five joints, rad, and the gripper, 0 open to 1 closed."""

import socket
import struct
from collections.abc import Sequence

from sim_worker.teleop.human_pose import JOINTS

PORT = 65432
FORMAT = "f" * JOINTS
SIZE = struct.calcsize(FORMAT)
CONNECT_SECONDS = 5.0


class TcpArm:
    """An arm that listens at host:port. Raises OSError when it does not."""

    def __init__(self, host: str, port: int = PORT) -> None:
        self._socket = socket.create_connection((host, port), CONNECT_SECONDS)

    def send(self, joints: Sequence[float]) -> None:
        """One message. Raises ValueError for other than JOINTS numbers, OSError when the arm is gone."""
        if len(joints) != JOINTS:
            raise ValueError(f"an arm takes {JOINTS} numbers, five joints and the gripper, got {len(joints)}")
        self._socket.sendall(struct.pack(FORMAT, *joints))

    def close(self) -> None:
        self._socket.close()


def servo_degrees(message: bytes) -> list[int]:
    """What the arm's servos are set to by a message of SIZE bytes: degrees from 0, and of the gripper 0 to 101."""
    *joints, gripper = struct.unpack(FORMAT, message)
    return [*(int((joint + 1.57) * 57.3) for joint in joints), int(gripper * 101)]


def address_of(text: str) -> tuple[str, int]:
    """HOST or HOST:PORT."""
    host, _, port = text.partition(":")
    if port and not port.isdigit():
        raise ValueError(f"expected HOST or HOST:PORT, got {text!r}")
    return host, int(port) if port else PORT
