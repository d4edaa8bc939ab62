"""What the server has: planners, hands that it knows by name, and models with their versions."""

from typing import Any

from pydantic import Field

from grasp_client.contract.base import ApiModel
from grasp_client.contract.gripper import Gripper


class PlannerEntry(ApiModel):
    """A planner that can be asked for. `inputs`: of depth, rgb; `grippers`: of parallel_jaw, suction; `cpu_seconds`: what a
    plan of a 640 x 480 image takes of one core of the server."""

    name: str
    description: str
    inputs: list[str]
    grippers: list[str]
    model: str | None
    version: int | None
    ready: bool
    cpu_seconds: float | None = None


class Planners(ApiModel):
    """Reply of `GET /planners`."""

    planners: list[PlannerEntry]


class Grippers(ApiModel):
    """Reply of `GET /grippers`: the sizes of every hand that `gripper` may name."""

    grippers: dict[str, Gripper]


class ModelPointers(ApiModel):
    """A model's versions and which of them plays what part; `serving` is the one that answers, `failure` why it is not the
    champion, `ab_test` how far the candidate's comparison with the champion is."""

    name: str
    versions: list[int]
    champion: int | None
    candidate: int | None
    previous: int | None
    ab_test: str | None = None
    serving: int | None
    failure: str | None = None


class ModelEntry(ModelPointers):
    """Reply of `GET /models/{name}`: also the cards of its versions, newest first, and those whose cards cannot be read."""

    cards: list[dict[str, Any]] = Field(default_factory=list)
    broken: list[int] = Field(default_factory=list)


class Models(ApiModel):
    """Reply of `GET /models`."""

    models: list[ModelPointers]
