"""How an action towards one wanted thing comes about: the road of a plan, with the network that tells what pushes are worth."""

from collections.abc import Sequence
from functools import partial

from grasp_client.contract import ActionPlan, ActionRequest
from grasp_client.observation import Observation
from inference_server.planner_service import group_of, timings
from inference_server.request_context import RequestContext
from inference_server.service import Service
from planning.base import LoadedNetwork, Planner
from planning.push.decision import PUSH_SECONDS, Asked, Decision, check_asked, decide
from planning.push.values import MODEL
from planning.rectification import action_in_sent_pixels

Item = tuple[Observation, ActionRequest]


async def plan_action(service: Service, request: RequestContext, sent: Item) -> ActionPlan:
    """Decide for one observation; fills in request id and timings, and remembers the grasps that are to be executed.

    Raises what the contract names.
    """
    planning = service.planning
    observation, options = await planning.rectified(request, sent)
    assert isinstance(options, ActionRequest)
    check_asked(observation, options)
    planner, pinned, forecast = await planning.choose(request, (observation, options))
    planner, told = planning.armed(planner, request.owner, sent[1])
    payload = planner, pinned, await planning.values_for(request, options.push.model_version), (observation, options)
    answer = await request.slot.submit(
        ("action", *group_of(planner, pinned)),
        partial(_decide, service),
        payload,
        request.deadline,
        service.settings.max_batch,
        2 * forecast + PUSH_SECONDS,
    )
    decision: Decision = answer.result
    if decision.executed is not None:
        executed = decision.executed.model_copy(update={"request_id": request.id})
        planning.count(executed)
        planning.recent.remember(request.owner, executed, observation, options)
    answered = decision.answer.model_copy(update={"request_id": request.id, "warnings": [*told, *decision.answer.warnings]})
    plan = action_in_sent_pixels(answered, sent)
    plan.timings_ms = timings(request, answer, plan.timings_ms)
    service.metrics.actions.labels(plan.action, plan.planner).inc()
    return plan


def _decide(
    service: Service, asked: Sequence[tuple[Planner, LoadedNetwork | None, LoadedNetwork | None, Item]]
) -> list[Decision]:
    """Runs in the inference thread, between whose batches networks are swapped."""
    network_of, values = service.planning.network_of, service.weights.get
    return decide(
        [Asked(item, planner, pinned or network_of(planner), value or values(MODEL)) for planner, pinned, value, item in asked]
    )
