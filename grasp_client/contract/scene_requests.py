"""Scenes that the trainer asks the workers to run."""

from typing import Literal

from pydantic import Field

from grasp_client.contract.base import LARGEST_VERSION, ApiModel, Label, Name, Probability, Seed, Variation


class SceneRequest(ApiModel):
    """A request of the trainer to the workers: run this scene."""

    id: Label
    seed: Seed
    kind: Name = "single"
    object_set: Name = "train"
    profile: Name = "standard"
    vary: list[Variation] = Field(default_factory=list, max_length=3, description="what the scene draws by its seed")
    purpose: Literal["collect", "judge"] = "collect"
    planner: Name = "auto"
    model_version: int | None = Field(None, ge=1, le=LARGEST_VERSION)
    exploration: Probability = 0.0
    attempts: int = Field(1, ge=1, le=1000)
    nonce: Name = Field("", description="by which the trainer knows its own requests in the outcomes that come of them")
