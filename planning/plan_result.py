"""From candidates with qualities to the plan that is sent: those that are good enough, none repeating a better one."""

import time
from collections import Counter

from torch import Tensor

from grasp_client.contract import GraspPlan
from planning.base import LoadedNetwork
from planning.jaw.candidates import JawCandidates
from planning.nms import distinct
from planning.scene.projection import wire_grasps
from planning.scene.scene import PlanningScene
from planning.suction.candidates import SuctionCandidates

NO_CAMERA = "no_camera: a field of view of 61 degrees was assumed, and the reply carries pixels only"


def select(
    planner: str,
    scene: PlanningScene,
    hands: JawCandidates | SuctionCandidates,
    qualities: Tensor,
    rejected: Counter[str],
    network: LoadedNetwork | None = None,
    started: float | None = None,
) -> GraspPlan:
    """The reply: the best of hands or cups by their qualities (N,), none repeating another. network: whose qualities they are,
    if any's; started: time.perf_counter() when planning began, unless somebody else takes the time."""
    request = scene.request
    enough = qualities >= request.min_quality
    rejected["low_quality"] += int((~enough).sum())
    rejected["outside_map"] += scene.map.outside
    chosen = distinct(hands.pose, qualities, request.n_grasps)
    chosen = chosen[enough[chosen]]
    return GraspPlan(
        planner=planner,
        model=network and network.ref,
        grasps=wire_grasps(scene, hands.pick(chosen).pose, qualities[chosen]),
        rejections={reason: count for reason, count in sorted(rejected.items()) if count},
        timings_ms={} if started is None else {"plan": 1e3 * (time.perf_counter() - started)},
        warnings=[*scene.warnings, *([] if request.camera is not None else [NO_CAMERA])],
    )
