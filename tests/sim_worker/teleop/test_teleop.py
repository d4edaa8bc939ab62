"""Keys, gamepads, trackers and bodies steer the simulated hand; what is played is what learners read."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import wait_until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from sim_worker.envs.closed_loop import MOST_SHIFT, STEPS, ClosedLoop
from sim_worker.teleop import main as teleop
from sim_worker.teleop.command import Command, Interpreter, command_of_keys, merged, read_message
from sim_worker.teleop.session import steer
from sim_worker.teleop.sources import Keyboard, WebsocketStream


def test_keys_are_directions() -> None:
    assert command_of_keys("") == Command()
    assert command_of_keys("d") == command_of_keys("\x1b[C") == Command(x=1.0)
    assert command_of_keys("wwa") == Command(x=-1.0, y=1.0)
    assert command_of_keys("ad") == Command()
    assert command_of_keys("rq ") == Command(z=1.0, turn=1.0, close=True)
    assert command_of_keys("\x03").end
    assert command_of_keys("?") == Command()


def test_actions_are_the_environments() -> None:
    assert Command(0.5, -1.0).action(2).tolist() == [0.5, -1.0]
    assert Command(0.5, -1.0, 1.0, 0.25, True).action(5).tolist() == [0.5, 1.0, -1.0, -0.25, 1.0]
    assert Command().action(5)[4] == -1


def test_a_gamepad_counts_downwards_and_has_a_dead_zone() -> None:
    pad = read_message(json.dumps({"type": "gamepad", "axes": [0.5, -1.0, 0.05, 0.5], "buttons": [True]}))
    assert Interpreter().command(pad) == Command(0.5, 1.0, -0.5, 0.0, True)


def test_a_tracker_moves_from_where_it_began() -> None:
    stream = Interpreter()
    say = lambda position, yaw: stream.command(read_message(json.dumps({"type": "pose", "position": position, "yaw": yaw})))  # noqa: E731
    assert say([5.0, 5.0, 5.0], 3.1) == Command()
    moved = say([5.005, 4.9, 5.0], -3.1)
    assert (moved.x, moved.y, moved.z) == pytest.approx((0.5, -1.0, 0.0))
    assert 0 < moved.turn < 1  # over the half turn, the short way


def test_commands_of_one_step_add_up() -> None:
    assert merged([]) == Command()
    assert merged([Command(0.7), Command(0.7, close=True)]) == Command(1.0, close=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [("x", "Invalid JSON"), ('{"type": "voice"}', "expected type"), ('{"type": "gamepad", "axes": [2, 0]}', "axes.0")],
)
def test_what_is_no_message_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_message(text)


@pytest.fixture
def stream() -> Iterator[WebsocketStream]:
    opened = WebsocketStream(0, origins=["http://page.example"])
    yield opened
    opened.close()


def test_a_websocket_feeds_commands_and_bad_messages_are_answered(stream: WebsocketStream) -> None:
    got: list[Command] = []
    with connect(f"ws://127.0.0.1:{stream.port}") as client:
        client.send("nonsense")
        assert "Invalid JSON" in json.loads(client.recv(10))["error"]
        client.send(json.dumps({"type": "gamepad", "axes": [1.0, 0.0]}))
        wait_until(lambda: got.append(stream.read()) or got[-1] != Command())
        assert got[-1] == Command(x=1.0)
        points = [[0.5, 0.5]] * 33
        client.send(json.dumps({"type": "landmarks", "landmarks": points, "close": True}))
        wait_until(lambda: stream.landmarks is not None)
    assert stream.read().close
    with pytest.raises(InvalidStatus):
        connect(f"ws://127.0.0.1:{stream.port}", origin=Origin("http://elsewhere.example"))
    with connect(f"ws://127.0.0.1:{stream.port}", origin=Origin("http://page.example")) as page:
        page.send(json.dumps({"type": "pose", "position": [0, 0, 0], "end": True}))
        wait_until(lambda: stream.read().end)


def test_a_keyboard_reads_what_was_typed() -> None:
    ours, typed = os.pipe()
    keyboard = Keyboard(ours)
    assert keyboard.read() == Command()
    os.write(typed, b"dw\x1b[A")
    assert keyboard.read() == Command(x=1.0, y=1.0)
    os.close(typed)
    assert keyboard.read().end
    keyboard.close()


class Guided:
    """Somebody who sees where the box is."""

    def __init__(self, environment: ClosedLoop) -> None:
        self.environment, self.steps, self.most = environment, 0, 10**9

    def read(self) -> Command:
        self.steps += 1
        way = self.environment._known()[:2] * 0.1 / MOST_SHIFT
        x, y = np.clip(way, -1, 1).tolist()
        return Command(x, y, end=self.steps > self.most)

    def close(self) -> None: ...


def test_episodes_are_recorded_as_learners_store_theirs(tmp_path: Path) -> None:
    environment = ClosedLoop(privileged=True, level=0)
    pictures: list[np.ndarray] = []
    source = Guided(environment)
    assert steer(environment, source, 1, tmp_path, 0, 0, pictures.append) == [True]
    source.most = source.steps + 3
    assert steer(environment, source, 1, tmp_path, 1, 0) == []  # broken off: not kept
    environment.close()
    [folder] = tmp_path.iterdir()
    arrays = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    assert arrays["picture"].shape == (STEPS + 1, 1, 64, 64)
    assert arrays["state"].shape == (STEPS + 1, 4)
    assert arrays["actions"].shape == (STEPS, 2)
    assert arrays["ended"].tolist() == [False] * (STEPS - 1) + [True]
    assert arrays["rewards"][-1] == 1
    assert np.array_equal(arrays["picture"][:-1], pictures)
    about: dict[str, Any] = json.loads((folder / "about.json").read_text())
    assert about["is_success"] is True
    assert about["interface"]["environment"] == "GraspLoop/ClosedLoop-v0"


def test_a_pace_is_kept_by_the_clock(tmp_path: Path) -> None:
    environment, waited = ClosedLoop(privileged=True, level=0), []
    source = Guided(environment)
    source.most = 2
    steer(environment, source, 1, tmp_path, 0, 10, clock=lambda: sum(waited), sleep=waited.append)
    environment.close()
    assert waited == pytest.approx([0.1] * 3)


def test_the_command_steers_by_websocket(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    opened: list[WebsocketStream] = []

    def stream(port: int, origins: list[str]) -> WebsocketStream:
        opened.append(WebsocketStream(port, origins=origins))
        return opened[0]

    monkeypatch.setattr(teleop, "WebsocketStream", stream)

    def person() -> None:
        wait_until(lambda: opened)
        with connect(f"ws://127.0.0.1:{opened[0].port}") as client:
            client.send(json.dumps({"type": "pose", "position": [0, 0, 0], "end": True}))

    typing = threading.Thread(target=person)
    typing.start()
    assert teleop.main(["--input", "websocket", "--port", "0", "--quiet", "--out", str(tmp_path), "--hertz", "20"]) == 0
    typing.join(10)
    assert "0 of 0 episodes" in capsys.readouterr().out
    assert teleop.main(["--arm", "nowhere"]) == 1
    assert "needs --input websocket" in capsys.readouterr().err
