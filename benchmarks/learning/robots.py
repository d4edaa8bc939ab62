"""Robots only: a scripted robot whose gripper the shipped model misjudges, reporting to the real services over HTTP.

No simulation worker runs. The robot's pads are worn, so that wide things slip out of it; the shipped `dense` has never met such
a gripper, and takes the wide things first. (A finger that slips on one side only could not be learned: a jaw may come turned by
half a turn, and the planner's network is mirrored as it learns.) What the robot reports is all that the loop learns and decides
from: a version is learned from it, answers half of the robot's requests, and is promoted by the grasps that were served. A
stranger with a key of its own reports the opposite of what happens, and must decide nothing.

Training takes as long as a robot needs for a few grasps; this one, which is done in a tenth of a second, waits for each round.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.learning.judging import judged
from benchmarks.learning.running import STOP_SECONDS, Loop, start
from grasp_client import GraspClient
from grasp_client.contract import Grasp, GraspPlan
from shared.durable import replace_file
from shared.rates import rate_with_interval
from shared.registry import Registry
from shared.settings import TrainerSettings

ROWS, COLUMNS, FOCAL, TABLE = 240, 320, 300.0, 0.70
"""Of the robot's camera, which looks straight down: pixels, and m to the table."""
CAMERA = {"fx": FOCAL, "fy": FOCAL, "cx": (COLUMNS - 1) / 2, "cy": (ROWS - 1) / 2}
NOISE = 0.0007
"""Standard deviation of depth, m."""
NARROW, WIDE, LENGTHS, HEIGHTS = (0.020, 0.034), (0.045, 0.060), (0.09, 0.13), (0.035, 0.055)
"""m. Two of three things on the table are wide."""
THINGS, APART, REACH = 3, 0.15, (0.20, 0.15)
HOLDS = {"narrow": 0.95, "wide": 0.2}
"""Probability that the worn pads hold a thing."""
EXPLORES = 0.3
"""Share of attempts that take another than the best grasp, and say so."""
STRANGER = 0.1
"""Share of scenes after which the stranger reports too."""
ROUND, SLACK = 500, 60
"""Outcomes of a round (the trainer's default), and how many more the robot reports before it waits for the round to end."""
VARIABLES = {
    "WORKERS": "0", "OUTCOMES_PER_ROUND": str(ROUND), "SHARD_SECONDS": "1", "RELOAD_SECONDS": "0.5",
    "API_KEYS": "arm:predict+report:arm-key,stranger:predict+report:stranger-key", "TRUSTED_SOURCES": "arm",
}  # fmt: skip
MAX_PAIRS = TrainerSettings.model_fields["max_ab_pairs"].default
TESTED = 200
"""Scenes in which the versions are compared at the end."""


@dataclass(frozen=True)
class Thing:
    """A box on the table: middle, m, direction of its length, rad, and size, m."""

    x: float
    y: float
    angle: float
    length: float
    width: float
    height: float

    @property
    def kind(self) -> str:
        return "narrow" if self.width < WIDE[0] else "wide"

    def top(self) -> tuple[np.ndarray, float]:
        """(pixels of its upper face (ROWS, COLUMNS), their depth in m)."""
        depth = TABLE - self.height
        v, u = np.mgrid[:ROWS, :COLUMNS]
        x, y = (u - CAMERA["cx"]) * depth / FOCAL - self.x, (v - CAMERA["cy"]) * depth / FOCAL - self.y
        along = x * math.cos(self.angle) + y * math.sin(self.angle)
        across = y * math.cos(self.angle) - x * math.sin(self.angle)
        return (abs(along) <= self.length / 2) & (abs(across) <= self.width / 2), depth


def scene(rng: np.random.Generator) -> list[Thing]:
    """Things that do not touch."""
    things: list[Thing] = []
    while len(things) < THINGS:
        width = rng.uniform(*(NARROW if len(things) == 1 else WIDE))
        sizes = rng.uniform(*LENGTHS), width, rng.uniform(*HEIGHTS)
        thing = Thing(rng.uniform(-REACH[0], REACH[0]), rng.uniform(-REACH[1], REACH[1]), rng.uniform(0, math.pi), *sizes)
        if all(math.hypot(thing.x - other.x, thing.y - other.y) > APART for other in things):
            things.append(thing)
    return things


def picture(things: list[Thing], rng: np.random.Generator) -> np.ndarray:
    """Depth (ROWS, COLUMNS) float32, m."""
    depth = np.full((ROWS, COLUMNS), TABLE)
    for face, above in map(Thing.top, things):
        depth[face] = above
    return (depth + rng.normal(0, NOISE, depth.shape)).astype(np.float32)


def holds(things: list[Thing], grasp: Grasp, rng: np.random.Generator) -> bool:
    """Whether the worn gripper lifts what a grasp takes."""
    x, y, _, _ = np.asarray(grasp.pose_camera)[:, 3]
    thing = min(things, key=lambda each: math.hypot(each.x - x, each.y - y))
    return bool(rng.random() < HOLDS[thing.kind])


class Robot:
    """One arm, and what it has reported."""

    def __init__(self, url: str, seed: int) -> None:
        self.client = GraspClient(url, api_key="arm-key", deadline=60)
        self.stranger = GraspClient(url, api_key="stranger-key", deadline=60)
        self.seed, self.scenes, self.reported, self.forged = seed, 0, 0, 0

    def try_one(self) -> None:
        """One scene, one grasp, one report."""
        self.scenes += 1
        rng = np.random.default_rng([self.seed, self.scenes])
        things = scene(rng)
        depth = picture(things, rng)
        plan = self._plan(self.client, depth)
        if not plan.grasps:
            return
        explores = len(plan.grasps) > 1 and rng.random() < EXPLORES
        rank = int(rng.integers(1, len(plan.grasps))) if explores else 0
        success = holds(things, plan.grasps[rank], rng)
        self._report(self.client, plan, rank, success, explores)
        self.reported += 1
        if rng.random() < STRANGER and (plan := self._plan(self.stranger, depth)).grasps:
            self._report(self.stranger, plan, 0, not holds(things, plan.grasps[0], rng), False)
            self.forged += 1

    def results(self, version: int) -> list[bool]:
        """Success of a version's best grasps in scenes of its own, which nobody reports."""
        results = []
        for number in range(TESTED):
            rng = np.random.default_rng([self.seed, 2**31 + number])
            things = scene(rng)
            plan = self._plan(self.client, picture(things, rng), model_version=version)
            results.append(bool(plan.grasps) and holds(things, plan.grasps[0], rng))
        return results

    @staticmethod
    def _plan(client: GraspClient, depth: np.ndarray, **options: Any) -> GraspPlan:
        return client.predict_grasp(depth, camera=CAMERA, planner="dense", n_grasps=10, **options)

    def _report(self, client: GraspClient, plan: GraspPlan, rank: int, success: bool, explores: bool) -> None:
        said: dict[str, Any] = {
            "request_id": plan.request_id,
            "rank": rank,
            "exploration": explores,
            "group": f"scene-{self.scenes}",
        }
        client.report_outcome(success=success, failure=None if success else "slipped", **said)


def run(out: Path, shipped: Path, seed: int, wanted: int, minutes: float, until_promoted: bool = False) -> dict[str, Any]:
    """`wanted` reports, or fewer until a version is promoted; returns what came of it, and writes it to robots-<seed>.json.

    Raises TimeoutError when that takes longer than `minutes`.
    """
    data = out / f"robots-{seed}"
    loop = start(data, {**VARIABLES, "SEED": str(seed), "SHIPPED_MODELS_DIR": str(shipped.resolve())})
    registry, begun = Registry(data / "models"), time.monotonic()
    try:
        robot = Robot(_url(loop, begun + 60 * minutes), seed)
        told = list(_work(robot, registry, wanted, begun + 60 * minutes, loop.poll, until_promoted))
        champion = registry.champion("dense") or 1
        tested = {version: robot.results(version) for version in sorted({1, champion})}
    finally:
        loop.process.send_signal(signal.SIGINT)
        loop.process.wait(timeout=STOP_SECONDS)
    cards = [registry.card("dense", version) for version in registry.versions("dense")]
    report = {
        "reported": robot.reported, "forged": robot.forged, "seconds": round(time.monotonic() - begun), "champion": champion,
        "success": {version: rate_with_interval(sum(its), TESTED) for version, its in tested.items()},
        "again": _again(tested[1], tested[champion], seed), "decisions": {card.version: card.decisions for card in cards},
        "sources": {card.version: card.outcomes.get("sources") for card in cards}, "told": told,
    }  # fmt: skip
    replace_file(out / f"robots-{seed}.json", json.dumps(report, indent=1).encode())
    return report


def _again(first: list[bool], champion: list[bool], seed: int) -> dict[str, int]:
    """Of 20 tests on results that are drawn anew, how many promote the champion over the first version, and how many the other
    way round."""
    rng = np.random.default_rng(seed)

    def promoted(old: list[bool], new: list[bool]) -> int:
        draws = ((rng.choice(old, MAX_PAIRS), rng.choice(new, MAX_PAIRS)) for _ in range(20))
        return sum(judged(zip(map(bool, a), map(bool, b), strict=True), MAX_PAIRS)[0] for a, b in draws)

    return {"better_promoted": promoted(first, champion), "worse_promoted": promoted(champion, first), "of": 20}


def _work(
    robot: Robot, registry: Registry, wanted: int, until: float, poll: Callable[[], None], until_promoted: bool
) -> Iterator[str]:
    """The robot works; yields what the server tells of an A/B test whenever it begins to tell of another one."""
    versions, since, before = 1, 0, ""
    while robot.reported < wanted and not (until_promoted and registry.champion("dense") != 1):
        poll()
        if time.monotonic() > until:
            raise TimeoutError(f"{robot.reported} outcomes were reported, and there is no time for more")
        if len(registry.versions("dense")) > versions:
            versions, since = versions + 1, robot.reported
        if robot.reported - since >= ROUND + SLACK and registry.candidate("dense") is None:
            time.sleep(0.2)  # a round is due, or goes on
            continue
        robot.try_one()
        state = robot.client.model("dense").ab_test or ""
        if (mode := state.split(":")[0]) != before:
            before = mode
            yield f"after {robot.reported} reports: {state}"


def _url(loop: Loop, until: float) -> str:
    """Where the server answers, once it does."""
    while "ready: POST" not in loop.said.read_text():
        loop.poll()
        if time.monotonic() > until:
            raise TimeoutError("the loop did not get ready in time")
        time.sleep(0.2)
    return loop.url
