"""Episodes of the goal benchmark, and the session folder that they are kept in: enough to look at, to replay and to go on from.

`results.jsonl` holds a line for each episode. Of every motion `<policy>/<scene>/` holds colour, depth (0.1 mm), the goal's mask
and the height map that published work uses (224 x 224 cells of 2 mm, 0.01 mm), and as JSON what was decided, by which values,
and what came of it; `scene.json` what the scene was made of, `strip.png` all of it in one picture.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from grasp_client.contract import Grasp, Gripper, Push
from grasp_client.drawing import draw_grasps
from grasp_client.geometry import invert, project, transform
from shared.outcome_codec import DEPTH_UNIT, depth_in_units
from sim_worker.benchmark.goal.policies import GoalPlanner, Policy, PolicyName
from sim_worker.benchmark.goal.qmap import QmapPolicy, Qmaps
from sim_worker.benchmark.goal.scenes import GoalScene
from sim_worker.tasks.goal_episode import Decision, EpisodeLog, GoalRunner, Look, Motion, Move, push_poses
from sim_worker.world import Scene, SceneSpec, World
from sim_worker.world.camera.orthographic import orthographic_maps

HEIGHT_UNIT = 1e-5
"""m of a height map's value."""
VALUES = 20
"""Pushes of each decision that are kept, the best."""
RESULTS = "results.jsonl"
Choice = Callable[[Look], Move | None]


def run_episode(
    found: GoalScene,
    policy: PolicyName,
    planner: GoalPlanner,
    gripper: Gripper,
    number: int,
    folder: Path | None,
    values: Qmaps | None = None,
) -> dict[str, Any]:
    """One episode; what `results.jsonl` says of it. folder: where its motions are written. values: of the policy `qmap`."""
    scene = found.again()
    assert found.goal is not None
    runner = GoalRunner(scene, found.goal, gripper)
    choose: Choice = Policy(policy, planner, scene, gripper, found.spec.random("policy"))
    if policy == "qmap":
        assert values is not None
        choose = QmapPolicy(values, gripper)
    session = SessionFolder(folder, found) if folder else None
    for motion in driven(runner, choose):
        if session:
            session.add(motion)
    if session:
        session.close()
    return row(policy, number, found, runner.log)


def driven(runner: GoalRunner, choose: Choice) -> Iterator[Motion]:
    """The motions of an episode in which a policy decides."""
    episode = runner.run()
    move: Move | None = None
    while True:
        try:
            event = episode.send(move)
        except StopIteration:
            return
        move = None
        if isinstance(event, Motion):
            yield event
        else:
            move = choose(event)


def row(policy: str, number: int, found: GoalScene, log: EpisodeLog) -> dict[str, Any]:
    """The line of an episode."""
    return {
        "policy": policy,
        "number": number,
        "scene_seed": found.spec.seed,
        "hash": found.hash,
        "goal": found.goal,
        "ended": log.ended,
        "motions": log.motions,
        "attempts": log.attempts,
        "failures": log.failures,
        "kinds": log.kinds,
    }


class SessionFolder:
    """The motions of one episode on disk."""

    def __init__(self, folder: Path, found: GoalScene) -> None:
        self.folder = folder
        self._frames: list[Image.Image] = []
        self._last: tuple[Path, dict[str, Any], float] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        scene = {"spec": json.loads(found.spec.model_dump_json()), "goal": found.goal, "hash": found.hash}
        (folder / "scene.json").write_text(json.dumps(scene, indent=1))

    def add(self, motion: Motion) -> None:
        look, move, name = motion.look, motion.move, f"{motion.number:02d}"
        self._reward_before(move.decision)
        depth = look.view.observation.depth
        assert depth is not None
        Image.fromarray(look.view.rgb).save(self.folder / f"{name}-color.png")
        Image.fromarray(depth_in_units(depth)).save(self.folder / f"{name}-depth.png")
        Image.fromarray(look.mask.astype(np.uint8) * 255).save(self.folder / f"{name}-goal.png")
        Image.fromarray(_height_image(look)).save(self.folder / f"{name}-height.png")
        told = _told(motion)
        self._last = self.folder / f"{name}.json", told, move.decision.quality
        self._write(float(motion.success) if move.kind != "push" else None)
        self._frames.append(frame(motion))

    def _reward_before(self, decision: Decision) -> None:
        """A push is rewarded by what it adds to the quality of the goal's best grasp, which the next look tells."""
        if self._last and self._last[1]["kind"] == "push":
            self._write(round(decision.quality - self._last[2], 4))

    def _write(self, reward: float | None) -> None:
        assert self._last is not None
        path, told, _ = self._last
        path.write_text(json.dumps({**told, "reward": reward}, indent=1))

    def close(self) -> None:
        """The strip of pictures."""
        if not self._frames:
            return
        width, height = sum(each.width for each in self._frames), self._frames[0].height
        strip = Image.new("RGB", (width, height), "white")
        left = 0
        for each in self._frames:
            strip.paste(each, (left, 0))
            left += each.width
        strip.save(self.folder / "strip.png")


def _height_image(look: Look) -> np.ndarray:
    """(224, 224) uint16 in HEIGHT_UNIT."""
    height = orthographic_maps(look.view, look.mask).height
    image: np.ndarray = np.rint(height.clip(0, 65535 * HEIGHT_UNIT) / HEIGHT_UNIT).astype(np.uint16)
    return image


def _told(motion: Motion) -> dict[str, Any]:
    move, decision = motion.move, motion.move.decision
    return {
        "number": motion.number,
        "kind": move.kind,
        "grasp": move.grasp and json.loads(move.grasp.model_dump_json()),
        "push": move.push and json.loads(move.push.model_dump_json()),
        "contact_allowed": move.contact_allowed,
        "value": round(move.value, 4),
        "goal_quality": round(decision.quality, 4),
        "values": [each.predicted_quality for each in decision.pushes[:VALUES]],
        "depth_scale": DEPTH_UNIT,
        "height_scale": HEIGHT_UNIT,
        "success": motion.success,
        "failure": motion.failure,
        "lifted": motion.lifted,
        "lost": motion.lost,
        "moved": motion.moved,
    }


def frame(motion: Motion) -> Image.Image:
    """The colour image with the goal's outline, the grasp or the push, and a line of text."""
    look, move = motion.look, motion.move
    picture = look.view.rgb.copy()
    edge = look.mask & ~_eroded(look.mask)
    picture[edge] = (255, 40, 40)
    if move.grasp is not None:
        picture = draw_grasps(picture, [move.grasp], Gripper(), look.view.camera)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    if move.push is not None:
        ends = np.array([pose[:3, 3] for pose in push_poses(move.push, np.asarray(look.view.camera_pose))])
        (u0, v0), (u1, v1) = project(transform(invert(np.asarray(look.view.camera_pose)), ends), look.view.camera)
        draw.line([u0, v0, u1, v1], fill=(255, 220, 0), width=3)
        draw.ellipse([u1 - 5, v1 - 5, u1 + 5, v1 + 5], fill=(255, 220, 0))
    text = f"{motion.number}: {move.kind} {move.value:.2f}, {'ok' if motion.success else motion.failure}"
    draw.rectangle([0, 0, image.width, 14], fill=(255, 255, 255))
    draw.text((3, 1), text, fill=(20, 130, 50) if motion.success else (190, 30, 30))
    return image


def _eroded(mask: np.ndarray) -> np.ndarray:
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return inner


def replay(world: World, folder: Path, gripper: Gripper) -> list[tuple[dict[str, Any], Motion]]:
    """An episode of a session folder executed again: what was kept of each motion, and what it came to now.

    Raises ValueError for a folder without an episode.
    """
    path = folder / "scene.json"
    if not path.is_file():
        raise ValueError(f"no scene.json in {folder}: expected the folder of one episode, as <session>/<policy>/<scene>")
    kept = json.loads(path.read_text())
    scene: Scene = world.build(SceneSpec.model_validate(kept["spec"]))
    told = [json.loads(each.read_text()) for each in sorted(folder.glob("[0-9][0-9].json"))]
    moves = iter([_move(each) for each in told])
    episode = GoalRunner(scene, kept["goal"], gripper).run()
    motions: list[Motion] = []
    move: Move | None = None
    while True:
        try:
            event = episode.send(move)
        except StopIteration:
            break
        move = next(moves, None) if isinstance(event, Look) else None
        if isinstance(event, Motion):
            motions.append(event)
    return list(zip(told, motions, strict=False))


def _move(told: dict[str, Any]) -> Move:
    return Move(
        told["kind"],
        Decision(told["goal_quality"], told["kind"]),
        grasp=told["grasp"] and Grasp.model_validate(told["grasp"]),
        push=told["push"] and Push.model_validate(told["push"]),
        value=told["value"],
        contact_allowed=told["contact_allowed"],
    )
