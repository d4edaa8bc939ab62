"""Which planners are installed, and which of them answers a request."""

import inspect
import logging
from collections.abc import Collection
from functools import cache
from importlib.metadata import EntryPoint, entry_points

import numpy as np

from grasp_client.contract import PlanRequest
from grasp_client.observation import Observation
from planning.base import Planner, PlannerError
from planning.tilted.overhead import blocked_from_above

logger = logging.getLogger(__name__)

GROUP = "grasploop.planners"
"""Entry points under which packages offer planners."""
PREFERENCE = ("dense", "antipodal", "suction_dense", "suction", "heatmap", "fc_gqcnn", "gqcnn")
"""`auto` takes the first of these that fits what was sent, then any other."""


@cache
def discover() -> dict[str, type[Planner]]:
    """All installed planners by name; looked up once, because it reads the metadata of every installed package.

    One that cannot be loaded is logged and left out: a broken package must not take the other planners down.
    """
    found = {entry.name: _load(entry) for entry in entry_points(group=GROUP)}
    return {name: kind for name, kind in found.items() if kind is not None}


def _load(entry: EntryPoint) -> type[Planner] | None:
    try:
        kind = entry.load()
    except Exception:  # importing foreign code may raise anything
        logger.exception("planner %r is left out: %s cannot be imported", entry.name, entry.value)
        return None
    if not (inspect.isclass(kind) and issubclass(kind, Planner)) or inspect.isabstract(kind):
        logger.error("planner %r is left out: %s is not a subclass of Planner with a plan_batch", entry.name, entry.value)
        return None
    return kind


def _blocked(depth: np.ndarray, request: PlanRequest) -> bool:
    """Whether nothing can come from straight above here."""
    pose = None if request.camera_pose is None else np.asarray(request.camera_pose, dtype=float)
    return request.camera is not None and blocked_from_above(depth, request.camera, pose) is not None


def choose(request: PlanRequest, observation: Observation, available: Collection[str]) -> str:
    """Name of the planner for a request; `auto` picks by what was sent: one that comes from the side where the request tells
    approaches, or where nothing can come from straight above.

    available: planners that can answer now (their model is loaded, or they need none). Raises PlannerError 404 for an
    unknown name and 422 when no available planner fits what was sent.
    """
    known = discover()
    if request.planner != "auto":
        if request.planner not in known:
            raise PlannerError(
                404, "unknown_planner", f"no planner {request.planner!r}; expected auto, {', '.join(sorted(known))}"
            )
        return request.planner
    sent = {image for image in ("depth", "rgb") if getattr(observation, image) is not None}
    names = [name for name in PREFERENCE if name in known] + sorted(set(known) - set(PREFERENCE))
    if observation.views:
        names = [name for name in names if known[name].several_views]
    if request.proposals:
        names = [name for name in names if known[name].corrects]
    if request.approach is not None:
        names = [name for name in names if known[name].any_approach]
    elif observation.depth is not None and _blocked(observation.depth, request):
        names.sort(key=lambda name: not known[name].any_approach)
    for name in names:
        if name in available and known[name].inputs <= sent and request.gripper.kind in known[name].grippers:
            return name
    if request.approach is not None:
        raise PlannerError(422, "no_planner", "only tilted keeps to `approach`: it needs depth, a jaw and a model `dense`")
    raise PlannerError(
        422,
        "no_planner",
        f"no planner that is ready takes {' or '.join(sorted(sent)) or 'nothing'} for a {request.gripper.kind} gripper; ready: "
        f"{', '.join(sorted(available)) or 'none'} (most need a depth image)",
    )
