"""Planners in process: the same code that the server runs, without HTTP."""

from functools import cache, partial
from pathlib import Path

from grasp_client.contract import ActionPlan, ActionRequest, GraspPlan, PlanRequest
from grasp_client.observation import Observation
from planning.base import LoadedNetwork, Planner
from planning.batched_inference import plan_batched
from planning.discovery import choose, discover
from planning.networks.device import pick_device
from planning.networks.loading import load_network
from planning.push.decision import Asked, check_asked, decide
from planning.push.values import MODEL
from planning.rectification import action_in_sent_pixels, in_sent_pixels, rectify
from shared.registry import Registry, UnknownVersion

ACTIONS, GRASPS = "push", "dense"
"""The name under which the best planner of grasps decides between grasps and pushes; a version then is one of their values."""


class LocalPlanner:
    """A GraspPlanner over a planner of this process. network: of the planner's model; values: of pushes, if there is one."""

    def __init__(self, planner: Planner, network: LoadedNetwork | None, values: LoadedNetwork | None = None):
        self.planner, self.network, self.values = planner, network, values

    def plan(self, observation: Observation, request: PlanRequest) -> GraspPlan:
        """Raises PlannerError for what the planner cannot use."""
        sent = observation, request
        item = rectify(sent)
        self.planner.check(*item)
        [plan] = plan_batched([(self.planner, self.network, item)])
        return in_sent_pixels(plan, sent)

    def plan_action(self, observation: Observation, request: ActionRequest) -> ActionPlan:
        """What to do next to get the observation's goal. Raises PlannerError for what cannot be decided on."""
        sent = observation, request
        check_asked(*sent)
        seen, asked = rectify(sent)
        assert isinstance(asked, ActionRequest)
        self.planner.check(seen, asked)
        [decision] = decide([Asked((seen, asked), self.planner, self.network, self.values)])
        return action_in_sent_pixels(decision.answer, sent)


def local_planner(name: str, models_dir: Path | str = "models", version: int | None = None) -> LocalPlanner:
    """Planner `name` in this process; its model is a version of the registry, default the champion. Under the name ACTIONS the
    version is one of the values of pushes; without any, geometry orders pushes.

    Raises PlannerError for an unknown name, RegistryError for a missing or broken model.
    """
    registry = Registry(models_dir)
    if name == ACTIONS:
        grasps = local_planner(GRASPS, models_dir)
        number = version or registry.champion(MODEL)
        values = number and load_network(registry, MODEL, number, MODEL, pick_device("auto"))
        return LocalPlanner(grasps.planner, grasps.network, values or None)
    planner = discover()[choose(PlanRequest(planner=name), Observation(), ())]()
    planner.networks = cache(partial(_champion, registry))
    if planner.model_name is None:
        return LocalPlanner(planner, None)
    version = version or registry.champion(planner.model_name)
    if version is None:
        raise UnknownVersion(f"model {planner.model_name!r} in {registry.root} has no champion; publish and promote a version")
    device = pick_device("auto")
    return LocalPlanner(planner, load_network(registry, planner.model_name, version, planner.architecture, device))


def _champion(registry: Registry, model: str) -> LoadedNetwork | None:
    """The champion of a model, or None without one."""
    version = registry.champion(model)
    return None if version is None else load_network(registry, model, version, None, pick_device("auto"))
