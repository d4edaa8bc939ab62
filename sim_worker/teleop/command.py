"""What a person wants of a hand in one step, and how keys, gamepads and trackers say it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from grasp_client.contract import ApiModel, plain_message
from sim_worker.teleop.human_pose import Landmark, joints_of, upper_arm_share

KEYS = {
    "w": ("y", 1.0), "s": ("y", -1.0), "d": ("x", 1.0), "a": ("x", -1.0), "r": ("z", 1.0), "f": ("z", -1.0), "q": ("turn", 1.0),
    "e": ("turn", -1.0), "\x1b[A": ("y", 1.0), "\x1b[B": ("y", -1.0), "\x1b[C": ("x", 1.0), "\x1b[D": ("x", -1.0),
}  # fmt: skip
"""Key to axis and direction of a Command; arrows as terminals send them."""
CLOSE_KEY, END_KEYS = " ", ("\x03", "\x04", "x")
DEAD = 0.1
"""Deflections of a gamepad's sticks below this are none."""
TRACKED = 0.01
"""m of a tracker's movement between two messages that are a deflection of 1."""
TURNED = 0.15
"""rad of its turn that are."""


@dataclass(frozen=True)
class Command:
    """Deflections, -1 to 1: to the right and to the far side of what the hand sees, up, and to the left about the vertical;
    close: shut the hand; end: no more episodes."""

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    turn: float = 0.0
    close: bool = False
    end: bool = False

    def action(self, size: int) -> np.ndarray:
        """Of an environment with 2 numbers (x and y of the base frame) or 5 (x, y, z of the tip frame, which point down, turn,
        close)."""
        if size == 2:
            return np.array([self.x, self.y], np.float32)
        return np.array([self.x, -self.y, -self.z, -self.turn, 1.0 if self.close else -1.0], np.float32)


def command_of_keys(keys: str) -> Command:
    """All that was pressed since the last step."""
    pressed = {"x": 0.0, "y": 0.0, "z": 0.0, "turn": 0.0}
    rest = keys
    close = end = False
    while rest:
        key = next((each for each in KEYS if rest.startswith(each)), rest[0])
        rest = rest[len(key) :]
        close, end = close or key == CLOSE_KEY, end or key in END_KEYS
        if key in KEYS:
            axis, way = KEYS[key]
            pressed[axis] = max(-1.0, min(1.0, pressed[axis] + way))
    return Command(**pressed, close=close, end=end)


Deflection = Annotated[float, Field(ge=-1, le=1)]


class GamepadMessage(ApiModel):
    """As the browser's Gamepad API has it: left stick x and y, right stick turns and lifts; button 0 closes, 1 ends."""

    type: Literal["gamepad"]
    axes: list[Deflection] = Field(min_length=2, max_length=16)
    buttons: list[bool] = Field([], max_length=32)


class TrackedPose(ApiModel):
    """Where a tracker is, m and rad in its own frame (x right, y away, z up): the hand moves as it does."""

    type: Literal["pose"]
    position: list[Annotated[float, Field(ge=-100, le=100)]] = Field(min_length=3, max_length=3)
    yaw: float = Field(0.0, ge=-100, le=100)
    close: bool = False
    end: bool = False


class LandmarksMessage(ApiModel):
    """A person's body in the numbering of MediaPipe Pose: [x, y, ...] of 33 points, shares of the picture; see human_pose."""

    type: Literal["landmarks"]
    landmarks: list[Landmark] = Field(min_length=25, max_length=40)
    close: bool = False
    end: bool = False


Message = Annotated[GamepadMessage | TrackedPose | LandmarksMessage, Field(discriminator="type")]
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


def read_message(text: str | bytes) -> Message:
    """A message of a stream. Raises ValueError that says what is wrong with it."""
    try:
        return _MESSAGE.validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "message"
        raise ValueError(f"{where}: {plain_message(problem)}; expected type gamepad, pose or landmarks") from error


class Interpreter:
    """Messages of one stream, one after the other, to commands."""

    def __init__(self) -> None:
        self._before: TrackedPose | None = None

    def command(self, message: Message) -> Command:
        """A tracker's first message moves nothing: only where it goes from there does."""
        if isinstance(message, GamepadMessage):
            x, y, turn, z = (_live(each) for each in [*message.axes, 0.0, 0.0][:4])
            close, end = ([*message.buttons, False, False][k] for k in (0, 1))
            return Command(x, -y, -z, -turn, close, end)  # sticks count downwards
        if isinstance(message, LandmarksMessage):
            slope, bend = (upper_arm_share(each) for each in joints_of(message.landmarks)["right"])
            return Command(slope, bend, close=message.close, end=message.end)
        before, self._before = self._before or message, message
        x, y, z = (_bounded((now - then) / TRACKED) for now, then in zip(message.position, before.position, strict=True))
        turned = math.remainder(message.yaw - before.yaw, math.tau)
        return Command(x, y, z, _bounded(turned / TURNED), message.close, message.end)


def merged(commands: Sequence[Command]) -> Command:
    """What several commands since the last step come to: movements of all, bounded."""
    x, y, z, turn = (_bounded(sum(getattr(each, axis) for each in commands)) for axis in ("x", "y", "z", "turn"))
    return Command(x, y, z, turn, any(each.close for each in commands), any(each.end for each in commands))


def _live(deflection: float) -> float:
    return deflection if abs(deflection) >= DEAD else 0.0


def _bounded(value: float) -> float:
    return max(-1.0, min(1.0, value))
