"""`refined`: proposals of any planner, offset in their own frames to where a critic that knows the cell expects most success.

The one-step decision of DexRL (state: what the hand sees; action: an offset of up to 2 cm and 0.26 rad), with a critic in the
hand's frame in place of an actor: the best of many offsets is taken.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grasp_client.contract import Grasp, GraspPlan, PlanRequest, Proposal
from grasp_client.geometry import invert
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, PlanItem, Planner, PlannerError
from planning.batched_inference import BatchedPlanner, InferenceSteps, NetworkCall
from planning.calibration import calibrated_logits
from planning.discovery import discover
from planning.jaw.candidates import JawCandidates
from planning.jaw.filters import veto
from planning.plan_result import select
from planning.scene.scene import PlanningScene, observe_scene
from shared.features.hand_frame import patches
from shared.features.place import frame_of, places
from shared.grasp_poses import HandPose, hands_of

PROPOSALS = 5
"""Grasps of the base planner that are corrected, at least."""
OFFSETS, HANDS = 32, 160
"""Offsets tried of each grasp, at least, the first none; and of all together, where few were proposed."""
BEST, AGAIN, CLOSER = 8, 16, 0.3
"""Hands that are then offset again, how often each, the first not at all, and how far, in the most that a hand is offset by."""
MOST_SHIFT, MOST_TURN = 0.02, 0.26
"""Of an offset along each axis of the hand and about its approach, m and rad (DexRL's)."""
EFFORT = 0.5
"""Logit that an offset costs per squared length, 1 being MOST_SHIFT and MOST_TURN: among many guesses one always looks good."""


class RefinedPlanner(BatchedPlanner):
    name = "refined"
    description = "Grasps of another planner (the card names it), corrected by what this cell's outcomes have taught. Depth."
    cpu_seconds = 0.12
    model_name = "refine"
    architecture = "cell-critic"
    corrects = True

    def steps(self, item: PlanItem, network: LoadedNetwork | None) -> InferenceSteps[GraspPlan]:
        observation, request = item
        network = network or self.need(network)
        if request.camera is None:
            raise PlannerError(422, "no_camera", f"planner {self.name!r} corrects metric grasps: send `camera`")
        critic: Any = network.module
        proposed: Sequence[Grasp | Proposal] = [_seen(each, request) for each in request.proposals]
        if not proposed:
            plan = yield from self._propose(critic.base, observation, request)
            if not plan.grasps:
                return plan.model_copy(update={"planner": self.name, "model": network.ref})
            proposed = plan.grasps
        scene = observe_scene(observation, request, network.device)
        frame = frame_of(scene.map.pose, scene.camera_pose)
        told = undone(critic, hands_of(scene.map.pose, proposed, request.gripper), frame)
        random, rejected = np.random.default_rng(request.seed), Counter[str]()
        many, steps = offset(told, max(OFFSETS, HANDS // len(proposed)), random)
        told, steps, worth = yield from self._judge(network, scene, frame, many, steps, rejected)
        best = torch.argsort(worth, descending=True, stable=True)[:BEST]
        if len(best):
            many, more = offset(_pick(told, best), AGAIN, random, CLOSER)
            more = more + steps[best].repeat_interleave(AGAIN, 0)
            closer, _, gained = yield from self._judge(network, scene, frame, many, more, rejected)
            told, worth = _both(told, closer), torch.cat([worth, gained])
            best = torch.argsort(worth, descending=True, stable=True)
        hands = candidates(scene, _pick(told, best))
        return select(self.name, scene, hands, torch.sigmoid(worth[best]), rejected, network)

    def _judge(
        self,
        network: LoadedNetwork,
        scene: PlanningScene,
        frame: np.ndarray,
        hands: HandPose,
        steps: Tensor,
        rejected: Counter[str],
    ) -> InferenceSteps[tuple[HandPose, Tensor, Tensor]]:
        """Told hands that geometry lets go where they really go, their offsets, and what they are worth (logits)."""
        kept, refused = veto(scene, candidates(scene, moved(network.module, hands, frame)))
        rejected.update(refused)
        hands, steps = _pick(hands, kept.source), steps[kept.source]
        if not len(hands):
            return hands, steps, torch.zeros(0)
        logits = yield NetworkCall(network, (patches(scene.map, hands, scene.gripper), places(hands, frame)))
        return hands, steps, calibrated_logits(logits, network.card.calibration) - EFFORT * steps.square().sum(1)

    def _propose(self, base: str, observation: Observation, request: PlanRequest) -> InferenceSteps[GraspPlan]:
        """The plan of the base planner. Raises PlannerError where there is none, it has no network, or cannot use what was
        sent."""
        if base not in discover():
            message = f"the critic was taught with grasps of {base!r}, which is no planner of this server: send `proposals`"
            raise PlannerError(422, "no_proposals", message)
        planner: Planner = discover()[base]()
        asked = observation, request.model_copy(update={"n_grasps": max(PROPOSALS, request.n_grasps), "min_quality": 0.0})
        planner.networks = self.networks
        network = self.networks(planner.model_name) if planner.model_name else None
        planner.check(*asked)
        if isinstance(planner, BatchedPlanner):
            return (yield from planner.steps(asked, network))
        return planner.plan_batch([asked], network)[0]


def _seen(proposal: Proposal, request: PlanRequest) -> Proposal:
    """A proposal with its pose in the camera's frame, and a width."""
    pose = proposal.pose_camera
    if pose is None:
        pose = (invert(np.asarray(request.camera_pose, dtype=float)) @ np.asarray(proposal.pose_base, dtype=float)).tolist()
    width = request.gripper.max_width if proposal.width is None else proposal.width
    return Proposal(pose_camera=pose, width=width)


def candidates(scene: PlanningScene, hands: HandPose) -> JawCandidates:
    """Hands as the geometry's veto takes them, with nothing measured of what they hold but their own place."""
    nothing = torch.zeros_like(hands.width)
    table = scene.map.table.tolist()
    known = {
        "pose": hands,
        "grip": hands.width,
        "source": torch.arange(len(hands), device=nothing.device),
        "rise": hands.tip - table[0] * hands.x - table[1] * hands.y,
        "known": torch.ones_like(nothing, dtype=torch.bool),
        "truncated": torch.zeros_like(nothing, dtype=torch.bool),
    }
    return JawCandidates(**{field.name: known.get(field.name, nothing) for field in fields(JawCandidates)})


def offset(hands: HandPose, count: int, random: np.random.Generator, most: float = 1.0) -> tuple[HandPose, Tensor]:
    """Each of N hands with `count` offsets of up to `most` MOST_SHIFT and MOST_TURN, the first none: (N * count) hands, and
    their offsets (N * count, 4), -most to most."""
    drawn = most * random.uniform(-1, 1, (len(hands), count, 4)) * (np.arange(count) > 0)[:, None]
    steps = torch.as_tensor(drawn.reshape(-1, 4), dtype=torch.float32, device=hands.width.device)
    many = _pick(hands, torch.arange(len(hands), device=hands.width.device).repeat_interleave(count))
    position = many.position + torch.einsum("nij,nj->ni", many.rotation, MOST_SHIFT * steps[:, :3])
    return HandPose(position, many.approach, many.angle + MOST_TURN * steps[:, 3], many.width), steps


def moved(critic: Any, hands: HandPose, frame: np.ndarray) -> HandPose:
    """Where hands go, in what is seen, that are told to go to `hands`."""
    shift, turn = _in_map(critic, frame)
    position = hands.position + shift + torch.linalg.cross(turn.expand_as(hands.position), hands.position)
    return _turned(hands, position, turn)


def undone(critic: Any, hands: HandPose, frame: np.ndarray) -> HandPose:
    """Where hands must be told to go so that they go, in what is seen, to `hands`."""
    shift, turn = _in_map(critic, frame)
    position = torch.linalg.solve(torch.eye(3, device=turn.device) + _cross(turn), (hands.position - shift).T).T
    return _turned(hands, position, -turn)


def _in_map(critic: Any, frame: np.ndarray) -> tuple[Tensor, Tensor]:
    """The critic's movement as shift, m, and small rotation vector, rad, of the map's frame."""
    shift, turn = (each.detach() for each in critic.movements())
    into = torch.as_tensor(frame[:3, :3].T, dtype=torch.float32, device=shift.device)
    origin = torch.as_tensor(frame[:3, 3], dtype=torch.float32, device=shift.device)
    return into @ (shift + torch.linalg.cross(turn, origin)), into @ turn


def _turned(hands: HandPose, position: Tensor, turn: Tensor) -> HandPose:
    """Hands at `position`, turned by a small rotation vector of the map's frame."""
    rotation = torch.linalg.matrix_exp(_cross(turn)) @ hands.rotation
    return HandPose.of(position, rotation, hands.width)


def _cross(turn: Tensor) -> Tensor:
    """(3, 3): what multiplies as the cross product with `turn`."""
    x, y, z = turn.tolist()
    return torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], device=turn.device)


def _both(one: HandPose, other: HandPose) -> HandPose:
    names = ("position", "approach", "angle", "width")
    return HandPose(*(torch.cat([getattr(one, name), getattr(other, name)]) for name in names))


def _pick(hands: HandPose, which: Tensor) -> HandPose:
    return HandPose(hands.position[which], hands.approach[which], hands.angle[which], hands.width[which])
