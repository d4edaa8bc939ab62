"""Scenes that the trainer asks the workers to run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from grasp_client.contract.base import ApiModel, Probability


class SceneRequest(ApiModel):
    """A request of the trainer to the workers: run this scene."""

    id: str
    seed: int = Field(ge=0)
    kind: str = "single"
    object_set: str = "train"
    profile: str = "standard"
    purpose: Literal["collect", "judge"] = "collect"
    planner: str = "auto"
    model_version: int | None = None
    exploration: Probability = 0.0
    attempts: int = Field(1, ge=1, le=1000)
