"""Training recipes: YAML files that say everything about a run but where the data lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

SHIPPED = Path(__file__).parent / "recipes"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DataRecipe(_Part):
    format: Literal["dexnet-2.0", "dexnet-3.0", "dexnet-4.0", "shards", "mobileunet", "looks"]
    split: str = Field("ordered", description="ordered, random, or a split that the data bring along")
    validation_share: float = Field(0.2, gt=0, lt=1)
    positive_share: float | None = Field(None, gt=0, lt=1, description="draw positives this often; none: as they come")


class OptimizerRecipe(_Part):
    name: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = Field(0.005, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)


class ScheduleRecipe(_Part):
    """`exponential` multiplies the rate by gamma every `every_epochs`; `one_cycle` rises and falls once."""

    name: Literal["exponential", "one_cycle", "constant"] = "exponential"
    gamma: float = Field(0.95, gt=0, le=1)
    every_epochs: float = Field(1.0, gt=0)


class AugmentRecipe(_Part):
    """Of crops: noise in metres, before normalisation, and mirrors. Of pictures: turns with labels, mirrors, windows, hues."""

    noise: float = Field(0.0, ge=0, description="deviation of the smooth depth noise, m")
    noise_cells: int = Field(8, ge=1, description="cells along a side on which the smooth noise is drawn")
    noise_share: float = Field(1.0, ge=0, le=1, description="share of the crops that get it")
    gamma_shape: float = Field(0.0, ge=0, description="multiplicative noise Gamma(shape, 1 / shape); 0: none")
    mirror: bool = False
    turn: bool = False
    shift: float = Field(0.0, ge=0, lt=0.5, description="greatest shift as a share of the picture")
    window: int = Field(0, ge=0, multiple_of=16, description="side of what is cut out of a picture round a label; 0: all")
    grey: float = Field(0.0, ge=0, le=1, description="share of the pictures shown without colour")
    colour: float = Field(
        0.0, ge=0, lt=1, description="of pictures: any hue, and this much more or less contrast and brightness"
    )


class TrainingRecipe(_Part):
    name: str = Field(description="model name in the registry")
    architecture: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    kind: Literal["parallel_jaw", "suction"] = "parallel_jaw"
    view: dict[str, float] = Field(
        default_factory=dict, description="focal_px, near, far of crops; pixels_per_metre of pictures; kept in the card"
    )
    data: DataRecipe
    loss: Literal["success", "cells"] = Field("success", description="cells: cross-entropy over all cells and rotations")
    part: Literal["maps", "stature"] = Field(
        "maps",
        description="of a heat map network: stature leaves the champion's maps as they are and learns how high things are",
    )
    fits: float = Field(0.0, ge=0, description="weight of what geometry says of every cell")
    optimizer: OptimizerRecipe = OptimizerRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    epochs: int = Field(25, ge=1)
    batch: int = Field(256, ge=2)
    seed: int = 0


def load(name: str) -> TrainingRecipe:
    """A recipe file, or the name of a shipped one. Raises ValueError that says what is wrong with it."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else SHIPPED / f"{name}.yaml"
    if not path.is_file():
        raise ValueError(f"no recipe {name!r}; expected a YAML file or one of {', '.join(shipped())}")
    try:
        return TrainingRecipe.model_validate(yaml.safe_load(path.read_text()))
    except (yaml.YAMLError, ValidationError) as error:
        raise ValueError(f"{path}: {error}") from error


def shipped() -> list[str]:
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))
