"""Many labels from one settled scene: grasps of several kinds, each tried from the same state."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from grasp_client.contract import Grasp, GraspMeta, GraspPlan, Gripper, ImageSpec, ModelRef, Outcome, SceneRef
from sim_worker.grasp_poses import pose_in_base
from sim_worker.planner_request import DEPTH_UNIT, DroppedInput, ExtraInput, in_depth_units, planning_request
from sim_worker.planners import NamedPlanner
from sim_worker.sampling.samplers import over_table, promising, random_on_object, random_probability
from sim_worker.sampling.surface import Surface
from sim_worker.world import CameraView, Scene, SceneSpec

FEASIBLE_ASKED = 200
"""Length of the list from which feasible grasps are drawn."""
TOP = 20
"""On-policy grasps are drawn among this many best."""


@dataclass(frozen=True)
class Mix:
    """Labels of each kind per scene.

    random: on an object. edges: between opposite depth edges; for a cup, on flat patches. feasible: anywhere in the list of
    the `feasible` planner. on_policy: among the best TOP of the `on_policy` planner. flat: over the table, without depth.
    """

    random: int = 10
    edges: int = 10
    feasible: int = 10
    on_policy: int = 2
    flat: int = 0

    @property
    def total(self) -> int:
        return self.random + self.edges + self.feasible + self.on_policy + self.flat


@dataclass(frozen=True)
class Candidate:
    """A grasp to try: how it was proposed and with what probability."""

    grasp: Grasp
    origin: str
    probability: float
    rank: int = 0
    planner: str = ""
    model: ModelRef | None = None


def candidates(
    scene: Scene,
    mix: Mix,
    feasible: NamedPlanner | None,
    on_policy: NamedPlanner | None,
    gripper: Gripper,
    extras: Collection[ExtraInput] = (),
    withheld: Collection[DroppedInput] = (),
) -> list[Candidate]:
    """The grasps to try in a scene; fewer than `mix.total` where a sampler finds too few.

    extras, withheld: what the `on_policy` planner is told besides, and what not.
    """
    view, spec = scene.observe(), scene.spec
    rng = np.random.default_rng([spec.seed, 2])
    seen = planning_request(view, spec, gripper, 1, extras=["segmask"]).observation
    surface = Surface.of(seen, view.camera, np.asarray(view.camera_pose))
    drawn = random_on_object(surface, gripper, mix.random, rng)
    found = [Candidate(grasp, "random", random_probability(surface)) for grasp in drawn]
    found += [Candidate(grasp, "edges", 0.0) for grasp in promising(surface, gripper, mix.edges, rng)]
    found += [Candidate(grasp, "flat", 0.0) for grasp in over_table(surface, gripper, mix.flat, rng)]
    plan = None
    if feasible and mix.feasible:
        plan = _plan(feasible, view, spec, gripper, FEASIBLE_ASKED)
        found += _drawn(plan, mix.feasible, len(plan.grasps), "feasible", rng)
    if on_policy and mix.on_policy:
        if plan is None or feasible is None or feasible.spec != on_policy.spec or extras or withheld:
            plan = _plan(on_policy, view, spec, gripper, TOP, extras, withheld)
        found += _drawn(plan, mix.on_policy, TOP, "on_policy", rng)
    return found


def _plan(
    named: NamedPlanner,
    view: CameraView,
    spec: SceneSpec,
    gripper: Gripper,
    count: int,
    extras: Collection[ExtraInput] = (),
    withheld: Collection[DroppedInput] = (),
) -> GraspPlan:
    call = planning_request(view, spec, gripper, count, named.name, named.model_version, extras, withheld)
    return named.planner.plan(call.observation, call.request)


def _drawn(plan: GraspPlan, count: int, among: int, origin: str, rng: np.random.Generator) -> list[Candidate]:
    """`count` different grasps drawn evenly from the best `among`; the very best always belongs to an on-policy draw."""
    among = min(among, len(plan.grasps))
    ranks = rng.permutation(among)[:count]
    if origin == "on_policy" and among and 0 not in ranks:
        ranks[0] = 0
    probability = min(1.0, count / max(among, 1))
    return [Candidate(plan.grasps[rank], origin, probability, int(rank), plan.planner, plan.model) for rank in ranks]


def label_scene(
    scene: Scene, tried: list[Candidate], gripper: Gripper, episode: str, with_rgb: bool = False
) -> Iterator[Outcome[GraspMeta]]:
    """Execute every candidate from the same settled state, to which the scene returns by itself.

    episode: `<worker>:<episode>`, the start of the outcome ids.
    """
    view, spec = scene.observe(), scene.spec
    images = {"depth": in_depth_units(view.observation)}
    specs = {"depth": ImageSpec(shape=list(images["depth"].shape), dtype="uint16", scale=DEPTH_UNIT)}
    if with_rgb:
        images["rgb"] = view.rgb
        specs["rgb"] = ImageSpec(shape=list(images["rgb"].shape), dtype="uint8")
    conditions = scene.conditions.flat()
    for number, candidate in enumerate(tried):
        grasp = candidate.grasp
        width = grasp.width or gripper.max_width
        result = scene.attempt(pose_in_base(grasp, np.asarray(view.camera_pose)), width, gripper)
        meta = GraspMeta(
            camera=view.camera,
            camera_pose=np.asarray(view.camera_pose).tolist(),
            gripper=gripper,
            grasp=grasp,
            rank=candidate.rank,
            planner=candidate.planner or candidate.origin,
            model=candidate.model,
            quality=grasp.quality,
            exploration=candidate.origin != "on_policy",
            probability=candidate.probability,
            success=result.success,
            failure=result.failure,
            scene=SceneRef(
                seed=spec.seed, kind=spec.kind, object_set=spec.object_set, profile=spec.profile, objects=list(view.objects)
            ),
            source="sim_worker.collect",
            time=time.time(),
            duration=result.simulated_seconds,
            details={"strategy": candidate.origin, "object": result.object_name, **conditions, **result.details},
            images=specs,
        )
        yield Outcome(id=f"{episode}:{number}", meta=meta, images=images)
