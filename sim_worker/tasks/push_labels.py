"""Labels of pushes: from one settled scene many pushes, each executed, looked at, planned on, and taken back.

A push is worth the quality of the goal's best grasp after it: a dense label, that every push has.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from grasp_client.contract import Gripper, ModelRef, Outcome, Push, PushMeta, SceneRef
from sim_worker.outcome_records import push_outcome
from sim_worker.tasks.goals import goal_mask, is_in_workspace, is_visible, neighbours_of, place_of
from sim_worker.world import CameraView, Scene
from sim_worker.world.grippers.pushing import PushResult

MOST_STAGES = 3
"""Of one scene: pushes from the state in which a push left it, and again."""
NEAREST = 3
"""Neighbours among which things are looked for that a push may help as well."""
WORTH_A_PUSH = 0.9
"""Things that can be grasped with this quality need no push."""
Quality = tuple[float, ModelRef | None]
"""Of a thing's best grasp, and the version whose it is."""


class PushPlanner(Protocol):
    """What labels need of a planner."""

    @property
    def name(self) -> str:
        """Of the planner that proposes the pushes."""

    def quality(self, view: CameraView, goal: str) -> Quality:
        """Of the goal's best grasp, 0 where there is none."""

    def pushes(self, view: CameraView, goal: str, count: int, random: np.random.Generator) -> list[Push]:
        """Up to `count` feasible pushes about the goal."""


@dataclass(frozen=True)
class PushMix:
    """Labels of a scene: pushes from each settled state; how many things beside the goal each is labelled for too (what helps
    one may hinder another, and both are then known); share of states from which it goes on after a push."""

    pushes: int = 13
    relabelled: int = 1
    go_on: float = 0.35


@dataclass(frozen=True)
class _Known:
    """The things that pushes from a state are labelled for: their qualities, and where they are."""

    view: CameraView
    qualities: dict[str, Quality]
    places: dict[str, np.ndarray | None]


def label_pushes(
    scene: Scene, goal: str, planner: PushPlanner, gripper: Gripper, mix: PushMix, episode: str, rgb: bool = False
) -> Iterator[Outcome[PushMeta]]:
    """Execute pushes about the goal from the settled state, and from states that they leave.

    episode: `<worker>:<episode>`, the start of the outcome ids. rgb: whether colours are kept.
    """
    random = scene.spec.random("push labels")
    number = 0
    for _ in range(MOST_STAGES):
        view = scene.observe()
        if not is_visible(view, goal):
            return
        near = neighbours_of(scene, goal)[:NEAREST] if mix.relabelled else []
        qualities = {name: planner.quality(view, name) for name in (goal, *near)}
        things = [goal, *[name for name in near if qualities[name][0] < WORTH_A_PUSH][: mix.relabelled]]
        known = _Known(view, qualities, {name: place_of(scene, name) for name in things})
        settled, left = scene.snapshot(), []
        for push in planner.pushes(view, goal, mix.pushes, random):
            result = scene.push(np.asarray(push.start_base), np.asarray(push.end_base), gripper)
            scene.commit()
            for name in things:
                yield _label(f"{episode}:{number}", scene, name, known, push, result, planner, gripper, rgb)
                number += 1
            if result.blocked is None and is_in_workspace(scene, goal):
                left.append(scene.snapshot())
            scene.revert(settled)
        if not left or random.random() >= mix.go_on:
            return
        scene.revert(left[int(random.integers(len(left)))])


def _label(
    name: str,
    scene: Scene,
    goal: str,
    known: _Known,
    push: Push,
    result: PushResult,
    planner: PushPlanner,
    gripper: Gripper,
    rgb: bool,
) -> Outcome[PushMeta]:
    """What a push was worth for one thing, in the scene as the push has left it."""
    lost, seen, before, now = not is_in_workspace(scene, goal), scene.observe(), known.places[goal], place_of(scene, goal)
    if result.blocked is not None:
        after = known.qualities[goal]
    else:
        after = planner.quality(seen, goal) if not lost and is_visible(seen, goal) else (0.0, None)
    spec = scene.spec
    return push_outcome(
        name,
        known.view,
        goal_mask(known.view, goal),
        scene.conditions.flat(),
        push=push,
        planner=planner.name,
        gripper=gripper,
        scene=SceneRef(
            seed=spec.seed, kind=spec.kind, object_set=spec.object_set, profile=spec.profile, objects=list(known.view.objects)
        ),
        goal=goal,
        quality_before=known.qualities[goal][0],
        quality_after=after[0],
        moved=0.0 if before is None or now is None else float(np.hypot(*(now - before)[:2])),
        lost=lost,
        blocked=result.blocked is not None,
        exploration=True,
        duration=result.simulated_seconds,
        source="sim_worker.collect",
        rgb=known.view.rgb if rgb else None,
    )
