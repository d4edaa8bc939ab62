"""Many labels from one settled scene: grasps of several kinds, each tried from the same state."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np

from grasp_client.contract import Approach, Grasp, GraspMeta, GraspPlan, Gripper, Outcome, SceneRef
from grasp_client.observation import Observation
from shared.outcome_codec import stored_depth
from sim_worker.grasp_poses import pose_in_base
from sim_worker.outcome_records import Proposal, grasp_outcome
from sim_worker.planner_request import DroppedInput, ExtraInput, planning_request
from sim_worker.planners import NamedPlanner
from sim_worker.sampling.approaches import drawn_approach
from sim_worker.sampling.hands import DrawnHand
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


def candidates(
    scene: Scene,
    mix: Mix,
    feasible: NamedPlanner | None,
    on_policy: NamedPlanner | None,
    gripper: Gripper,
    extras: Collection[ExtraInput] = (),
    withheld: Collection[DroppedInput] = (),
    tilts: bool = False,
) -> list[Proposal]:
    """The grasps to try in a scene; fewer than `mix.total` where a sampler finds too few.

    extras, withheld: what the `on_policy` planner is told besides, and what not. tilts: planners are told approaches that the
    scene draws.
    """
    view, spec = scene.observe(), scene.spec
    rng = np.random.default_rng([spec.seed, 2])
    seen = planning_request(view, spec, gripper, 1, extras=["segmask"]).observation
    surface = Surface.of(seen, view.camera, np.asarray(view.camera_pose), gripper)
    drawn = random_on_object(surface, gripper, mix.random, rng)
    found = [_sampled(grasp, "random", random_probability(surface)) for grasp in drawn]
    found += [_sampled(grasp, "edges") for grasp in promising(surface, gripper, mix.edges, rng)]
    found += [_sampled(grasp, "flat") for grasp in over_table(surface, gripper, mix.flat, rng)]
    plan, approach = None, drawn_approach(spec, view) if tilts else None
    if feasible and mix.feasible:
        plan = _plan(feasible, view, spec, gripper, FEASIBLE_ASKED, approach)
        found += _drawn(plan, mix.feasible, len(plan.grasps), "feasible", rng)
    if on_policy and mix.on_policy:
        if plan is None or feasible is None or feasible.spec != on_policy.spec or extras or withheld:
            plan = _plan(on_policy, view, spec, gripper, TOP, approach, extras, withheld)
        found += _drawn(plan, mix.on_policy, TOP, "on_policy", rng)
    return found


def clear_some(
    scene: Scene,
    planner: NamedPlanner,
    hand: DrawnHand,
    extras: Collection[ExtraInput],
    withheld: Collection[DroppedInput],
    tilts: bool,
) -> bool:
    """Take things away as the best grasps of `planner` lift them, none up to all but one, as the scene draws.

    Whether it came so far: where a grasp fails on the way, nobody would meet what the scene is then without knowing that.
    """
    rng = np.random.default_rng([scene.spec.seed, 3])
    for _ in range(int(rng.integers(len(scene.objects)))):
        view, spec = scene.observe(), scene.spec
        approach = drawn_approach(spec, view) if tilts else None
        grasps = _plan(planner, view, spec, hand.told, 1, approach, extras, withheld).grasps
        if not grasps:
            return False
        width = grasps[0].width or hand.true.max_width
        result = scene.attempt(pose_in_base(grasps[0], np.asarray(view.camera_pose)), width, hand.true)
        if not result.success or result.object_name is None:
            return False
        scene.remove(result.object_name)
    return bool(scene.objects)


def _sampled(grasp: Grasp, origin: str, probability: float = 0.0) -> Proposal:
    """Of a sampler, which plans nothing."""
    return Proposal(grasp, origin, probability, 0, origin, None, grasp.quality, exploration=True)


def _plan(
    named: NamedPlanner,
    view: CameraView,
    spec: SceneSpec,
    gripper: Gripper,
    count: int,
    approach: Approach | None,
    extras: Collection[ExtraInput] = (),
    withheld: Collection[DroppedInput] = (),
) -> GraspPlan:
    asked = view, spec, gripper, count, named.name, named.model_version, extras, withheld
    call = planning_request(*asked, approach=approach)
    return named.planner.plan(call.observation, call.request)


def _drawn(plan: GraspPlan, count: int, among: int, origin: str, rng: np.random.Generator) -> list[Proposal]:
    """`count` different grasps drawn evenly from the best `among`; the very best always belongs to an on-policy draw."""
    among = min(among, len(plan.grasps))
    ranks = rng.permutation(among)[:count]
    if origin == "on_policy" and among and 0 not in ranks:
        ranks[0] = 0
    probability = min(1.0, count / max(among, 1))
    return [
        Proposal(
            plan.grasps[rank],
            origin,
            probability,
            int(rank),
            plan.planner,
            plan.model,
            plan.grasps[rank].quality,
            exploration=origin != "on_policy",
        )
        for rank in ranks
    ]


def label_scene(
    scene: Scene, tried: list[Proposal], gripper: Gripper, episode: str, with_rgb: bool = False, told: Gripper | None = None
) -> Iterator[Outcome[GraspMeta]]:
    """Execute every candidate from the same settled state, to which the scene returns by itself.

    episode: `<worker>:<episode>`, the start of the outcome ids. told: what was known of the gripper when the candidates were
    found, and is kept with the outcomes; none: all of it.
    """
    view, spec = scene.observe(), scene.spec
    seen = Observation(depth=view.observation.depth, rgb=view.rgb if with_rgb else None)
    ref = SceneRef(
        seed=spec.seed,
        kind=spec.kind,
        object_set=spec.object_set,
        profile=spec.profile,
        vary=list(spec.vary),
        objects=list(view.objects),
    )
    conditions, depth = scene.conditions.flat(), None if seen.depth is None else stored_depth(seen.depth)
    for number, proposal in enumerate(tried):
        grasp = proposal.grasp
        width = grasp.width or gripper.max_width
        result = scene.attempt(pose_in_base(grasp, np.asarray(view.camera_pose)), width, gripper)
        name = f"{episode}:{number}"
        happened = name, proposal, result, view, seen, told or gripper, ref, conditions, depth
        yield grasp_outcome(*happened, source="sim_worker.collect")
