"""Which scenes the loop runs: those that users meet, unless the settings ask for one kind, profile or camera."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from grasp_client.contract import Variation
from shared.settings import ProfileNames, SceneKinds, Variations

KINDS = {"single": 0.2, "pile": 0.45, "packed": 0.1, "bin": 0.25}
"""Shares of the kind `mixed`. On single objects and packed ones a shipped model rarely fails: there is little to learn."""
PROFILES = {"standard": 0.5, "hard": 0.5}
"""Shares of the profile `mixed`."""
PUSHER = "push"
"""Name by which decisions between grasps and pushes are asked for."""
GOAL_KINDS = ("enclosed", "scattered")
"""Scenes in which one thing is wanted."""
VARIATIONS: dict[Variations, list[Variation]] = {
    "nothing": [], "hands": ["hands"], "cameras": ["cameras"], "both": ["hands", "cameras"],
    "all": ["hands", "cameras", "sides"],
}  # fmt: skip


@dataclass(frozen=True)
class SceneMix:
    """What scenes are drawn from."""

    kind: SceneKinds = "mixed"
    profile: ProfileNames = "mixed"
    vary: Variations = "both"

    def for_planner(self, planner: str | None) -> SceneMix:
        """The same for a planner: who decides on pushes is asked where one thing is wanted, with one hand and one camera."""
        if planner != PUSHER:
            return self
        return replace(self, kind=self.kind if self.kind in GOAL_KINDS else "enclosed", vary="nothing")

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        """Fields kind, profile and vary of a scene request."""
        kind, profile = (str(rng.choice(list(shares), p=list(shares.values()))) for shares in (KINDS, PROFILES))
        return {
            "kind": kind if self.kind == "mixed" else self.kind,
            "profile": profile if self.profile == "mixed" else self.profile,
            "vary": VARIATIONS[self.vary],
        }

    def as_json(self) -> dict[str, Any]:
        """For a card."""
        return asdict(self)


ALL = SceneMix()
"""Everything mixed."""
