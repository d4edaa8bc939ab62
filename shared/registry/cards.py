"""What is known of a version."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


class ModelCard(BaseModel):
    """What is known of one version: where it came from and how good it was measured to be."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    name: str
    version: int = 0
    architecture: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    sha256: str = ""
    parent: int | None = None
    created: str = ""
    git_commit: str | None = None
    seeds: dict[str, int] = Field(default_factory=dict)
    outcomes: dict[str, Any] = Field(default_factory=dict, description="first and last outcome id, count")
    metrics: dict[str, float] = Field(default_factory=dict, description="held out: ap, brier, ece, base_rate, ...")
    simulated: dict[str, Any] | None = Field(None, description="attempts, successes, rate, low, high, protocol")
    robots: dict[str, Any] | None = Field(None, description="as simulated, of grasps that robots of trusted sources report")
    calibration: dict[str, Any] = Field(default_factory=dict, description="e.g. {kind: temperature, value: 1.2}")
    promise: dict[str, Any] = Field(
        default_factory=dict, description="as calibration, of what a planner makes of the logits; none: as it is"
    )
    note: str = ""
    decisions: list[dict[str, Any]] = Field(default_factory=list, description="promoted, rejected, rolled back: when and why")

    @field_validator("outcomes")
    @classmethod
    def _counts_are_counts(cls, outcomes: dict[str, Any]) -> dict[str, Any]:
        for key in ("count", "total", "held_out"):
            if not isinstance(value := outcomes.get(key) or 0, int) or value < 0:
                raise ValueError(f"expected outcomes.{key} as a count, got {value!r:.100}")
        return outcomes
