"""From candidates with qualities to the plan that is sent: those that are good enough, none repeating a better one."""

import time
from collections import Counter

from torch import Tensor

from grasp_client.contract import GraspPlan
from planning.base import LoadedNetwork
from planning.jaw.candidates import JawCandidates
from planning.scene.projection import wire_grasps
from planning.scene.scene import PlanningScene
from planning.suction.candidates import SuctionCandidates

OUT_OF_VIEW = (
    "out_of_view: what the best grasp holds reaches beyond the picture, as a robot's arm or a wall does, and is trusted less: "
    "send `region` or `segmask` to say where things are"
)
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
    rejected["low_quality"] += int((qualities < request.min_quality).sum())
    rejected["outside_map"] += scene.map.outside
    best, quality = hands.distinct(qualities, request.n_grasps, least=request.min_quality)
    warnings = list(scene.warnings)
    if request.checks == "on" and not scene.restricted and scene.goal is None and bool(best.truncated[:1].any()):
        warnings.append(OUT_OF_VIEW)
    return GraspPlan(
        planner=planner,
        model=network and network.ref,
        grasps=wire_grasps(scene, best.pose, quality),
        rejections={reason: count for reason, count in sorted(rejected.items()) if count},
        timings_ms={} if started is None else {"plan": 1e3 * (time.perf_counter() - started)},
        warnings=warnings if request.camera is not None else [*warnings, NO_CAMERA],
    )
