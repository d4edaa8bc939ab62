"""The work cell: builds scenes, one simulated at a time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sim_worker.world.camera.appearance import draw_colour
from sim_worker.world.camera.photographic import Pattern
from sim_worker.world.objects.catalogue import draw_names, model_named
from sim_worker.world.objects.folder import folder_models
from sim_worker.world.objects.objects import ObjectModel, middle_side
from sim_worker.world.simulation.cases import case_names
from sim_worker.world.simulation.clutter import POOL, arrange_clutter
from sim_worker.world.simulation.physics import Physics
from sim_worker.world.simulation.placement import PlacedObject, arrange
from sim_worker.world.simulation.profiles import PROFILES, Conditions, draw_mass
from sim_worker.world.simulation.scene import Scene
from sim_worker.world.simulation.sim_state import Simulation
from sim_worker.world.simulation.spec import (
    DEFAULT_COUNTS,
    DRAWN_COUNTS,
    GOAL_KINDS,
    SMALL_SPAN,
    SceneError,
    SceneSpec,
)

MASS_GROWTH = (0.2, 2.0)
"""Least and most by which a scaled object is as heavy as an unscaled one: of what is lighter the solver makes bullets, where a
jaw closes off its middle."""
MOST_DRAWS = 40
"""Of objects and drops before a scene is given up: single scenes take 1.1 on average."""


def _counts(spec: SceneSpec) -> tuple[int, int]:
    """Fewest and most objects to draw for a scene."""
    if spec.kind == "enclosed":
        return POOL, POOL
    drawn = {} if spec.bin_size else DRAWN_COUNTS
    usual = {"case": (1, 1), **DEFAULT_COUNTS, **drawn}[spec.kind]
    return usual if spec.count is None else (spec.count, spec.count)


class World:
    """One simulation, without a window. Scenes of the same world may be used in turn; using several worlds is faster."""

    def __init__(self, physics: Physics | None = None, textures: Sequence[Pattern] = ()) -> None:
        """textures: patterns of pictures, which photographic looks may have."""
        self.textures = textures
        self.physics = physics or Physics()
        self.simulation = Simulation(self.physics)
        self._folders: dict[Path, dict[str, ObjectModel]] = {}
        self._sides: dict[str, float] = {}

    def build(self, spec: SceneSpec) -> Scene:
        """A settled scene, the same for the same spec. Objects that do not come to rest in sight are drawn anew.

        Raises SceneError when no draw of the spec comes to rest, ValueError for an unknown object or object set.
        """
        conditions = Conditions.draw(PROFILES[spec.profile], spec.random("conditions"))
        if spec.bin:
            conditions = replace(conditions, tilt=max(conditions.tilt, spec.bin.tilt))
        for draw in range(MOST_DRAWS):
            self.simulation.owner = None
            objects, spares = self._draw_objects(spec, draw)
            random = spec.random("arrangement", draw)
            if spec.kind in GOAL_KINDS:
                placed = arrange_clutter(self.physics, spec, objects, random)
            else:
                placed = arrange(self.physics, spec, objects, spares, random)
            if placed:
                return Scene(self.simulation, spec, conditions, placed, self.textures)
        raise SceneError(
            f"no {spec.kind} scene of seed {spec.seed} came to rest in {MOST_DRAWS} draws of {spec.object_set!r} objects"
        )

    def _draw_objects(self, spec: SceneSpec, draw: int) -> tuple[list[PlacedObject], Iterator[PlacedObject]]:
        """The scene's objects, and more of its set to replace some by; none where the spec names its objects."""
        random = spec.random("objects", draw)
        low, high = _counts(spec)
        named = spec.objects or (case_names(spec.case) if spec.case else None)
        names = list(named or self._names(spec, int(random.integers(low, high + 1)), random))
        seen: Counter[str] = Counter()
        objects = [self._drawn(spec, name, index, seen, random) for index, name in enumerate(names)]
        return objects, iter(()) if named else self._spares(spec, draw, len(objects), seen)

    def _spares(self, spec: SceneSpec, draw: int, index: int, seen: Counter[str]) -> Iterator[PlacedObject]:
        random = spec.random("spares", draw)
        while True:
            yield self._drawn(spec, self._names(spec, 1, random)[0], index, seen, random)
            index += 1

    def _drawn(self, spec: SceneSpec, name: str, index: int, seen: Counter[str], random: np.random.Generator) -> PlacedObject:
        """Object `index` of the scene, with a name of its own, a colour and a mass."""
        profile = PROFILES[spec.profile]
        seen[name] += 1
        unique = name if seen[name] == 1 else f"{name}#{seen[name]}"
        colour = draw_colour(profile.colours, index, random)
        model, mass = model_named(name, self._folder(spec)), draw_mass(profile, random)
        if spec.object_span:
            side = self._sides[name] = self._sides.get(name) or middle_side(model)
            factor = float(random.uniform(*spec.object_span)) / side
            model = model.scaled(factor)
            mass = mass and mass * float(np.clip(factor**3, *MASS_GROWTH))
        return PlacedObject(unique, model, mass, colour)

    def _names(self, spec: SceneSpec, count: int, random: np.random.Generator) -> list[str]:
        primitives = spec.object_span is not None and spec.object_span[1] < SMALL_SPAN
        return draw_names(spec.object_set, count, random, self._folder(spec), primitives)

    def _folder(self, spec: SceneSpec) -> dict[str, ObjectModel] | None:
        """The user's own objects, read once per folder."""
        if spec.objects_dir is None:
            return None
        if spec.objects_dir not in self._folders:
            self._folders[spec.objects_dir] = folder_models(spec.objects_dir)
        return self._folders[spec.objects_dir]

    def close(self) -> None:
        self.physics.close()
