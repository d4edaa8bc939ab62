"""Replies other than a plan, as far as clients need them; what a newer server adds is ignored."""

from __future__ import annotations

from pydantic import BaseModel


class PlannerEntry(BaseModel):
    """A planner that can be asked for. `inputs`: of depth, rgb; `grippers`: of parallel_jaw, suction."""

    name: str
    description: str
    inputs: list[str]
    grippers: list[str]
    model: str | None
    version: int | None
    ready: bool


class Planners(BaseModel):
    planners: list[PlannerEntry]


class ModelEntry(BaseModel):
    """A model's versions and which of them plays what part; `serving` is the one that answers."""

    name: str
    versions: list[int]
    champion: int | None
    candidate: int | None
    previous: int | None
    serving: int | None
    cards: list[dict] = []
    """One card per version, newest first; only from `GraspClient.model`."""


class Models(BaseModel):
    models: list[ModelEntry]


class OutcomeAccepted(BaseModel):
    id: str
