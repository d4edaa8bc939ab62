"""The work cell: builds scenes, one simulated at a time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sim_worker.world.appearance import draw_colour
from sim_worker.world.arrange import Placed, arrange
from sim_worker.world.catalogue import draw_names, model_named
from sim_worker.world.folder import folder_models
from sim_worker.world.objects import ObjectModel
from sim_worker.world.physics import Physics
from sim_worker.world.profiles import PROFILES, Conditions, Profile, draw_mass
from sim_worker.world.scene import Scene, SceneError, Stage
from sim_worker.world.spec import DEFAULT_COUNTS, SceneSpec

MOST_DRAWS = 40
"""Of objects and drops before a scene is given up: single scenes take 1.1 on average."""


class World:
    """One simulation, without a window. Scenes of the same world may be used in turn; using several worlds is faster."""

    def __init__(self, physics: Physics | None = None) -> None:
        self.physics = physics or Physics()
        self._owner: Scene | None = None
        self._current: Stage | None = None
        self._folders: dict[Path, dict[str, ObjectModel]] = {}

    @staticmethod
    def profile(spec: SceneSpec) -> Profile:
        return PROFILES[spec.profile]

    def build(self, spec: SceneSpec) -> Scene:
        """A settled scene, the same for the same spec. Objects that do not come to rest in sight are drawn anew.

        Raises SceneError when no draw of the spec comes to rest, ValueError for an unknown object or object set.
        """
        conditions = Conditions.draw(self.profile(spec), spec.random("conditions"))
        for draw in range(MOST_DRAWS):
            self.forget()
            placed = arrange(self.physics, spec, self._draw_objects(spec, draw), spec.random("arrangement", draw))
            if placed:
                return Scene(self, spec, conditions, placed)
        raise SceneError(
            f"no {spec.kind} scene of seed {spec.seed} came to rest in {MOST_DRAWS} draws of {spec.object_set!r} objects"
        )

    def _draw_objects(self, spec: SceneSpec, draw: int) -> list[Placed]:
        random, profile = spec.random("objects", draw), self.profile(spec)
        low, high = DEFAULT_COUNTS[spec.kind] if spec.count is None else (spec.count, spec.count)
        folder = self._folder(spec)
        names = list(spec.objects or draw_names(spec.object_set, int(random.integers(low, high + 1)), random, folder))
        seen: Counter[str] = Counter()
        placed = []
        for index, name in enumerate(names):
            seen[name] += 1
            unique = name if seen[name] == 1 else f"{name}#{seen[name]}"
            colour = draw_colour(profile.colours, index, random)
            placed.append(Placed(unique, model_named(name, folder), draw_mass(profile, random), colour))
        return placed

    def _folder(self, spec: SceneSpec) -> dict[str, ObjectModel] | None:
        """The user's own objects, read once per folder."""
        if spec.objects_dir is None:
            return None
        if spec.objects_dir not in self._folders:
            self._folders[spec.objects_dir] = folder_models(spec.objects_dir)
        return self._folders[spec.objects_dir]

    def stage_of(self, scene: Scene) -> Stage | None:
        """The scene as it stands in the simulation; None if another one does."""
        return self._current if self._owner is scene else None

    def take_stage(self, scene: Scene, stage: Stage) -> None:
        self._owner, self._current = scene, stage

    def forget(self) -> None:
        """What stands in the simulation is no scene's settled state any more."""
        self._owner = self._current = None

    def close(self) -> None:
        self.physics.close()
