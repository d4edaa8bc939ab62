"""Training recipes: YAML files that say everything about a run but where the data lie."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

SHIPPED = Path(__file__).parent / "recipes"


MAX_PASSES = 30
"""More passes over a small set only teach it by heart, where a network has weights enough for that."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataRecipe(_Part):
    format: str = Field("shards", description="shards of our own outcomes, or a format that the task reads")
    split: str = Field("ordered", description="of published tensors: ordered, random, or a split that they bring along")
    validation_share: float = Field(0.2, gt=0, lt=1, description="of published data; of shards a fixed tenth of the scenes")
    positive_share: float | None = Field(None, gt=0, lt=1, description="draw positives this often; none: as they come")
    rank_power: float | None = Field(
        None, gt=0, le=2, description="draw the n-th most surprising example n**-power as often; none: all alike"
    )


class OptimizerRecipe(_Part):
    name: Literal["sgd", "adam", "adamw"] = "sgd"
    learning_rate: float = Field(0.005, gt=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)


class RateRecipe(_Part):
    """`exponential` multiplies the learning rate by gamma every `every_epochs`; `one_cycle` rises over a share of the steps and
    falls again."""

    name: Literal["exponential", "one_cycle", "constant"] = "exponential"
    gamma: float = Field(0.95, gt=0, le=1)
    every_epochs: float = Field(1.0, gt=0)
    rise: float = Field(0.3, gt=0, lt=1)


class AugmentRecipe(_Part):
    """Of depth: noise in metres, before normalisation. Of pictures: turns with labels, shifts, windows, hues. Mirrors."""

    noise: float = Field(0.0, ge=0, description="deviation of the smooth depth noise, m")
    noise_cells: int = Field(8, ge=1, description="cells along a side on which the smooth noise is drawn")
    noise_share: float = Field(1.0, ge=0, le=1, description="share of the examples that get it")
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
    task: str = Field(description="how it learns: the name of a module in trainer_job/tasks")
    architecture: str
    planner: str | None = Field(None, description="who serves the model that the trainer's rounds train; none: none do")
    parameters: dict[str, Any] = Field(default_factory=dict)
    kind: Literal["parallel_jaw", "suction"] = "parallel_jaw"
    view: dict[str, float] = Field(
        default_factory=dict, description="focal_px, near, far of crops; pixels_per_metre of pictures; kept in the card"
    )
    data: DataRecipe = DataRecipe()
    loss: Literal["success", "cells", "map"] = Field(
        "success", description="cells: cross-entropy over all cells and rotations; map: squared error of a given map"
    )
    geometry_weight: float = Field(0.0, ge=0, description="weight of what geometry says of every cell of a heat map")
    optimizer: OptimizerRecipe = OptimizerRecipe()
    schedule: RateRecipe = RateRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    keep: Literal["best", "last"] = Field("best", description="weights of the epoch of least validation loss, or the last")
    epochs: int = Field(25, ge=1)
    batch: int = Field(256, ge=2)
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="while a network of heights from colours learns; bfloat16 takes less time where there is such"
    )
    min_steps: int = Field(0, ge=0, description="a small set is passed over more often for so many steps")
    max_passes: int = Field(MAX_PASSES, ge=1, description="over a small set at most, so as not to learn it by heart")
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
    """Names of the shipped recipes."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


@cache
def recipe_of_model(name: str) -> TrainingRecipe:
    """The recipe of a model that the trainer's rounds train. Raises ValueError with the names of those."""
    trained = {recipe.name: recipe for recipe in map(load, shipped()) if recipe.planner}
    if name not in trained:
        raise ValueError(f"no rounds for a model {name!r}; expected one of {', '.join(sorted(trained))}")
    return trained[name]
