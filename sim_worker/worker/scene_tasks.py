"""What a worker does with a scene request: the scene it builds, the task it runs there, and the outcomes that come of it."""

from collections.abc import Generator
from typing import Any

from grasp_client.contract import ActionPlan, GraspPlan, SceneRequest
from shared.outcome_codec import EncodedOutcome, encode_outcome
from shared.settings import WorkerSettings
from sim_worker.command_line import gripper_of
from sim_worker.grasp_poses import cell_error_of
from sim_worker.outcome_records import goal_outcome, outcome_of
from sim_worker.planner_request import DroppedInput, ExtraInput, PlanningRequest
from sim_worker.replays import without_images
from sim_worker.sampling.hands import drawn_hand
from sim_worker.sampling.variety import varied
from sim_worker.tasks.attempts import Attempt, NoPlan, run_scene_request
from sim_worker.tasks.goal_request import GoalStep, run_goal_request
from sim_worker.worker.counters import Counters
from sim_worker.world import SceneSpec, World
from sim_worker.world.simulation.spec import GOAL_KINDS

Plan = GraspPlan | ActionPlan
AnyTask = Generator[PlanningRequest | Attempt | NoPlan | GoalStep, Any, None]


def is_last(event: Attempt | GoalStep, request: SceneRequest) -> bool:
    """Whether nothing of the scene request comes after an event of it."""
    return event.end is not None if isinstance(event, GoalStep) else event.number + 1 == request.attempts


class SceneTasks:
    """Tasks as a worker's settings want them. Raises OSError or ValueError for settings that cannot be."""

    def __init__(self, settings: WorkerSettings) -> None:
        self.settings = settings
        self.gripper, self.cell_error = gripper_of(settings.gripper), cell_error_of(settings.cell_error)
        self.extras: list[ExtraInput] = ["rgb"] if settings.rgb else []
        self.withheld: list[DroppedInput] = []
        if not settings.depth:
            if not settings.rgb:
                raise ValueError("without depth the planner needs colour: set rgb as well")
            self.extras, self.withheld = ["rgb", "table_depth"], ["depth"]

    def run(self, world: World, request: SceneRequest, tally: Counters) -> AnyTask:
        """Build the scene, and do what is asked for there."""
        spec = {name: getattr(request, name) for name in ("seed", "kind", "object_set", "profile", "vary")}
        if self.withheld:
            spec["vary"] = []  # planners of colour alone look straight down, and know one hand
        elif self.settings.gripper:
            spec["vary"] = [each for each in spec["vary"] if each != "hands"]
        asked = SceneSpec.model_validate({**spec, "objects_dir": self.settings.objects_dir})
        varied_spec, gripper = varied(asked, self.gripper)
        scene = world.build(varied_spec)
        tally.scenes += 1
        if request.kind in GOAL_KINDS:
            yield from run_goal_request(scene, request, gripper)
            return
        hand = drawn_hand(gripper, varied_spec)
        yield from run_scene_request(scene, request, hand.true, self.extras, self.withheld, hand.told, self.cell_error)

    def outcome(self, event: Attempt | GoalStep, request: SceneRequest, outcome_id: str, worker: str) -> EncodedOutcome:
        """What is kept and sent of an attempt or a step."""
        if isinstance(event, GoalStep):
            return encode_outcome(goal_outcome(event, request, outcome_id, worker))
        made = outcome_of(event, request, outcome_id, worker)
        replayed = self.settings.outcome_records == "replay" and event.built
        return encode_outcome(without_images(made, replayed) if replayed else made)
