"""Steers the simulated hand, records episodes that a learner can start from, and moves real arms along.

grasploop teleop                                       w a s d, arrows: aside; r f: height; q e: turn; space: close; x: end
grasploop teleop --input websocket --port 8765         gamepads, trackers, and bodies; see docs/how_to/steer_by_hand.md
grasploop teleop --input websocket --arm 192.168.0.7   a real arm follows a body's right arm; two arms: left and right
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from shared.features.eye_in_hand import VIEWS
from shared.features.terminal import show
from sim_worker.envs.closed_loop import ClosedLoop
from sim_worker.envs.closed_loop_any import ClosedLoopAny
from sim_worker.teleop.command import Command
from sim_worker.teleop.human_pose import OUTWARDS, Side, arm_joints, joints_of
from sim_worker.teleop.session import steer
from sim_worker.teleop.sources import CommandSource, Keyboard, WebsocketStream
from sim_worker.teleop.tcp_arm import TcpArm, address_of

ENVIRONMENTS = {"closed-loop": ClosedLoop, "closed-loop-any": ClosedLoopAny}
HERTZ = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        results = run(options)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{sum(results)} of {len(results)} episodes succeeded; recorded in {options.out}")
    return 0


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("grasploop teleop", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--environment", choices=ENVIRONMENTS, default="closed-loop")
    add("--observation", choices=VIEWS, default="depth", help="what is recorded of the camera on the hand")
    add("--input", choices=["keyboard", "websocket"], default="keyboard")
    add("--port", type=int, default=8765, help="of the websocket, on this machine alone (default: %(default)s)")
    add("--origin", action="append", default=[], help="of a web page that may connect, such as http://localhost:3000")
    follows = "real arm that follows the right arm of a body; given twice: the left and the right one"
    add("--arm", action="append", default=[], metavar="HOST[:PORT]", help=follows)
    add("--episodes", type=int, default=10)
    add("--hertz", type=float, default=HERTZ, help="steps per second; 0: as fast as they can be (default: %(default)s)")
    add("--level", type=int, default=0, help="of the curriculum (default: %(default)s)")
    add("--seed", type=int, default=0)
    add("--quiet", action="store_true", help="do not draw what the hand sees (needs 24-bit colours)")
    add("--out", type=Path, default=Path("data/demonstrations"), help="default: %(default)s")
    return parser


def run(options: argparse.Namespace) -> list[bool]:
    """Plays; whether each episode succeeded. Raises OSError for a port that is in use or an arm that does not answer."""
    if options.arm and options.input != "websocket":
        raise ValueError("--arm follows a body: it needs --input websocket")
    if len(options.arm) > len(OUTWARDS):
        raise ValueError(f"--arm: a body has two arms, got {len(options.arm)}")
    with ExitStack() as opened:
        source: CommandSource
        source = Keyboard() if options.input == "keyboard" else WebsocketStream(options.port, origins=options.origin)
        opened.callback(source.close)
        sides: list[Side] = ["left", "right"] if len(options.arm) == 2 else ["right"]
        arms = {side: TcpArm(*address_of(each)) for side, each in zip(sides, options.arm, strict=False)}
        for arm in arms.values():
            opened.callback(arm.close)
        environment = ENVIRONMENTS[options.environment](options.observation, privileged=True, level=options.level)
        opened.callback(environment.close)

        def told(command: Command) -> None:
            if arms and isinstance(source, WebsocketStream) and source.landmarks is not None:
                follow(arms, source, command.close)

        shown = (lambda picture: None) if options.quiet else show
        return steer(environment, source, options.episodes, options.out, options.seed, options.hertz, shown, told)


def follow(arms: dict[Side, TcpArm], stream: WebsocketStream, close: bool) -> None:
    """Send each arm where the body's own arm is."""
    assert stream.landmarks is not None
    found = joints_of(stream.landmarks.landmarks)
    for side, arm in arms.items():
        arm.send(arm_joints(*found[side], float(close)))


if __name__ == "__main__":
    sys.exit(main())
