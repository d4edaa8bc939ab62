"""`tilted`: the search of `dense` along several approach directions, its candidates ranked together."""

from collections import Counter

import torch

from grasp_client.contract import GraspPlan
from planning.base import LoadedNetwork, PlanItem
from planning.batched_inference import BatchedPlanner, InferenceSteps, NetworkCall, between_passes
from planning.calibration import promise
from planning.candidates import distinct_poses
from planning.plan_result import NO_CAMERA
from planning.tilted.pool import Pool, search
from planning.tilted.scenes import observe_approaches
from shared.features.circumstances import NAMES


class TiltedPlanner(BatchedPlanner):
    name = "tilted"
    description = "As dense, along several approach directions: shelves, level and steep cameras, `approach`. Depth."
    cpu_seconds = 0.11
    model_name = "dense"
    architecture = "dense"
    any_approach = True

    def steps(self, item: PlanItem, network: LoadedNetwork | None) -> InferenceSteps[GraspPlan]:
        observation, request = item
        network = network or self.need(network)
        seen = observe_approaches(observation, request, network.device)
        between_passes.get()()
        pool = search(seen, request)
        scores = torch.cat([hands.score for hands in pool.hands])
        logits = scores
        if len(pool):
            logits = yield NetworkCall(network, (pool.features(),))
        told = pool.told()
        outside = torch.cat([hands.beyond for hands in pool.hands])
        quality = promise(logits, outside, scores, network.card, told, torch.from_numpy(told[:, NAMES.index("approach")]))
        chosen = distinct_poses(pool.poses(), quality, request.n_grasps, least=request.min_quality)
        rejected = pool.rejected + Counter(low_quality=int((quality < request.min_quality).sum()))
        return GraspPlan(
            planner=self.name,
            model=network.ref,
            grasps=pool.grasps(chosen, quality),
            rejections=dict(sorted(rejected.items())),
            warnings=[*seen.warnings, *([] if request.camera is not None else [NO_CAMERA])],
        )


def tilted_candidates(item: PlanItem, device: torch.device) -> Pool:
    """What `tilted` would show the network of an observation: candidates with poses, scores and `features`, for collection."""
    observation, request = item
    return search(observe_approaches(observation, request, device), request)
