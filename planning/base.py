"""The interface of every planner."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import nn

from grasp_client.contract import GraspPlan, ModelRef, PlanRequest
from grasp_client.observation import Observation
from shared.registry import ModelCard

PlanItem = tuple[Observation, PlanRequest]
COST_SIZE = (480, 640)
"""Image that `Planner.cpu_seconds` is of."""
PIXEL_SECONDS = 1e-8
"""To project a pixel into the map, whose own size does not depend on the image."""
GRASP_SECONDS = 3e-5
"""For one more grasp in the answer."""


class PlannerError(Exception):
    """A request that this planner cannot answer: `status` and `code` for the reply, the message says what would be right."""

    def __init__(self, status: int, code: str, message: str):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True)
class LoadedNetwork:
    """A network of the registry, in eval mode on its device."""

    name: str
    version: int
    module: nn.Module
    card: ModelCard
    device: torch.device
    ref: ModelRef = field(init=False)
    """What a reply says of it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ref", ModelRef(name=self.name, version=self.version))


class Arm(Protocol):
    """The arm of a robot, for what can be reached; see `planning.reach.arm`."""

    def reaches(self, poses: np.ndarray, before: np.ndarray, round_tool: bool) -> np.ndarray:
        """Whether (N,) bool it gets to grasps `poses` (N, 4, 4) from `before` (N, 4, 4), base frame; round_tool: a cup's."""


class Planner(ABC):
    """Turns observations into ranked grasps. Stateless: what it learned comes with every call as `network`."""

    name: ClassVar[str]
    description: ClassVar[str]
    model_name: ClassVar[str | None] = None
    architecture: ClassVar[str | None] = None
    inputs: ClassVar[frozenset[str]] = frozenset({"depth"})
    grippers: ClassVar[frozenset[str]] = frozenset({"parallel_jaw"})

    cpu_seconds: ClassVar[float] = 0.05
    """What a plan of an image of COST_SIZE takes of one core, measured on a machine where `antipodal` takes 0.035 s."""

    any_approach: ClassVar[bool] = False
    """Whether it keeps to the `approach` of a request; others only come from straight above, or along a surface's normal."""

    several_views: ClassVar[bool] = False
    """Whether it looks at all views of an observation; others know of the first alone, and refuse them."""

    corrects: ClassVar[bool] = False
    """Whether it corrects the `proposals` of a request; others refuse them."""

    batched_with: ClassVar[str | None] = None
    """Name of the model whose passes it shares where that is not `model_name`."""

    arm: Arm | None = None
    """What has to reach its grasps; set by whoever runs it."""

    networks: Callable[[str], LoadedNetwork | None] = staticmethod(lambda model: None)
    """The network that serves a model now, for a planner that asks others; set by whoever runs it."""

    @abstractmethod
    def plan_batch(self, items: Sequence[PlanItem], network: LoadedNetwork | None) -> list[GraspPlan]:
        """Plans in the order of `items`, which `check` has let pass. Raises PlannerError where one cannot be answered."""

    def heatmap(self, observation: Observation, request: PlanRequest, network: LoadedNetwork | None) -> np.ndarray:
        """Dense qualities (angles, H, W) float32, 0 to 1, in the pixels of the sent image; bin k closes along k pi / angles."""
        raise PlannerError(422, "no_heatmap", f"planner {self.name!r} has no dense map; ask for antipodal or dense")

    def forecast(self, size: tuple[int, int], request: PlanRequest) -> float:
        """Seconds of one core that a plan of an image (height, width) will take at most, on the machine of `cpu_seconds`."""
        pixels = size[0] * size[1] - COST_SIZE[0] * COST_SIZE[1]
        return self.cpu_seconds + PIXEL_SECONDS * max(0, pixels) + GRASP_SECONDS * request.n_grasps

    def quote(self, observation: Observation, request: PlanRequest) -> float:
        """What `forecast` says of an observation that `check` lets pass; else its PlannerError."""
        self.check(observation, request)
        return self.forecast(observation.size, request)

    def check(self, observation: Observation, request: PlanRequest) -> None:
        """Raise PlannerError when this planner cannot use what was sent. Whoever runs a planner asks this once, before."""
        if request.gripper.kind not in self.grippers:
            raise PlannerError(
                422,
                "wrong_gripper",
                f"planner {self.name!r} plans for a {' or '.join(sorted(self.grippers))} gripper, not for a "
                f"{request.gripper.kind} one; ask for auto, or for one that does",
            )
        if request.approach is not None and not self.any_approach:
            raise PlannerError(
                422, "approach_unsupported", f"planner {self.name!r} does not keep to `approach`: ask for auto or tilted"
            )
        if request.proposals and not self.corrects:
            raise PlannerError(
                422, "proposals_unsupported", f"planner {self.name!r} corrects no `proposals`: ask for auto or refined"
            )
        if request.views and len(request.views) != len(observation.views) + 1:
            raise PlannerError(
                422, "views_mismatch", f"`views` tell of {len(request.views)} depth images: send depth_0, depth_1, ..."
            )
        if observation.views and not self.several_views:
            raise PlannerError(
                422, "views_unsupported", f"planner {self.name!r} takes one view: ask for auto, dense, antipodal or suction"
            )
        missing = [image for image in sorted(self.inputs) if getattr(observation, image) is None]
        if missing:
            raise PlannerError(
                422,
                "missing_image",
                f"planner {self.name!r} needs {' and '.join(missing)}; send it, or ask for another planner",
            )

    def need(self, network: LoadedNetwork | None) -> LoadedNetwork:
        """The network, or PlannerError 503 while none is loaded."""
        if network is None:
            raise PlannerError(
                503,
                "no_model",
                f"no version of model {self.model_name!r} is loaded; retry later, or ask for "
                f"{'antipodal' if 'parallel_jaw' in self.grippers else 'suction'}, which needs none",
            )
        return network
