"""How objects come to lie: one dropped, several dropped in a pile or into a bin, leant against its walls, or set upright close
together, on the table or in a shelf."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from sim_worker.world.objects.objects import ObjectModel, prepare
from sim_worker.world.simulation.bins import Bin
from sim_worker.world.simulation.fixtures import surroundings, walls
from sim_worker.world.simulation.physics import AWAKE, Physics
from sim_worker.world.simulation.spec import SceneSpec

SETTLE_SECONDS = 2.0
TOP_UPS = 10
"""Rounds in which what rolled away, or finds no rest, is set down again."""
PATIENCE = 3
"""After so many rounds, what is still lost is replaced by another object."""
LEAST_SHARE = 0.6
"""Of the objects asked for that must lie after PATIENCE rounds: a scene that lost more is drawn anew."""
LEANS = 0.7
"""Share of the objects that are leant against a wall in a scene of the kind `leaning`."""
LEANT = (math.radians(15), math.radians(50))
"""rad: between straight up and the longest side of what is leant, when it is let go."""
LYING = 0.3
"""Share of the objects in a shelf that are not stood up."""
IN_SHELF = 0.5
"""How far from the middle of a shelf's floor the first object stands, at most, of its half sides."""
ORIGIN = np.zeros(2)
BESIDE_ALL = (3.0, 0.0, 0.1)
"""m: beyond the table's edge, where an object falls and is lost."""
UP = (Rotation.from_euler("y", -math.pi / 2), Rotation.from_euler("x", math.pi / 2), Rotation.identity())
"""Turns that put the x, y and z axis up."""
BESIDE_WALL = 0.002
"""m of air between a wall and an object that is let down beside it."""


@dataclass(frozen=True)
class PlacedObject:
    """An object and where it is: position (m) and orientation (xyzw) of its centre-of-mass frame in the base frame."""

    name: str
    model: ObjectModel
    mass: float | None
    colour: tuple[float, float, float, float] | None
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    orientation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)

    def spawn(self, physics: Physics) -> int:
        body = self.model.spawn(physics, (0, 0, 0), (0, 0, 0, 1))
        prepare(physics, body, self.model, self.mass, self.colour)
        physics.client.resetBasePositionAndOrientation(body, self.position, self.orientation)
        return body

    def moved_to(self, physics: Physics, body: int) -> PlacedObject:
        position, orientation = physics.client.getBasePositionAndOrientation(body)
        return PlacedObject(self.name, self.model, self.mass, self.colour, position, orientation)


def settled(
    physics: Physics, objects: dict[int, PlacedObject], within: Callable[[float, float], bool], rolling: bool = False
) -> list[PlacedObject]:
    """Where the objects rest; those that do not, sank, or lie where `within` (x, y), m, says no, are left out.

    rolling: what still rolls inside `within` stays too, stopped where it is.
    """
    physics.settle(list(objects), SETTLE_SECONDS)
    found = []
    for (body, placed), (linear, angular) in zip(objects.items(), physics.speeds(list(objects)), strict=True):
        now = placed.moved_to(physics, body)
        x, y, z = now.position
        # What is round may spin in its place for long; nothing but its look turns.
        rests = rolling or (linear < 0.02 and (angular < 0.5 or placed.model.rolls))
        if rests and within(x, y) and z > -0.01:
            found.append(now)
    return found


def arrange(
    physics: Physics, spec: SceneSpec, objects: list[PlacedObject], spares: Iterator[PlacedObject], random: np.random.Generator
) -> list[PlacedObject] | None:
    """Let the objects come to rest; None if too few of them do, in sight, for the scene to count.

    What is lost is set down again, and, if it is lost again and again, replaced by one of `spares`.
    """
    physics.reset()
    fixed = [body for body, name in surroundings(physics, spec).items() if name != "table"]
    if spec.kind in ("packed", "shelf"):
        bodies = _set_close(physics, spec, objects, fixed, random)
    elif spec.kind == "single":
        bodies = {drop(physics, objects[0], spec.scale * random.uniform(-0.06, 0.06, 2), _turn(spec, random)): objects[0]}
    else:
        bodies = _drop_all(physics, spec, objects, random)
    found, wanted = settled(physics, bodies, spec.holds), objects
    least = max(1, math.ceil(LEAST_SHARE * len(objects)))
    for number in range(TOP_UPS if spec.kind != "single" else 0):
        here = {placed.name for placed in found}
        lost = [placed for placed in wanted if placed.name not in here]
        if not lost or (number >= PATIENCE and len(found) < least):
            break
        if number >= PATIENCE:
            lost = [next(spares, placed) for placed in lost]
            wanted = [*found, *lost]
        found = settled(physics, _set_down_again(physics, spec, found, lost, random), spec.holds)
    return found if len(found) >= least else None


def _turn(spec: SceneSpec, random: np.random.Generator) -> Rotation:
    """How an object is turned when it is dropped: any way, or only about the vertical."""
    return Rotation.from_euler("z", random.uniform(-math.pi, math.pi)) if spec.upright else Rotation.random(rng=random)


def drop(
    physics: Physics, placed: PlacedObject, xy: np.ndarray, turn: Rotation, floor: float = 0.0, shaft: Bin | None = None
) -> int:
    """Release the object, turned, with its lowest point 1 cm above `floor` (m).

    shaft: `xy` (2,), m, and the turn are in its frame, and what would reach into a wall is let down beside it.
    """
    body = placed.spawn(physics)
    physics.client.resetBasePositionAndOrientation(body, [0, 0, 0], turn.as_quat().tolist())
    low, high = (np.array(corner) for corner in physics.client.getAABB(body))
    centre = (low + high) / 2
    if shaft:
        room = np.maximum(shaft.half - (high - low)[:2] / 2 - BESIDE_WALL, 0.0)
        xy = np.clip(xy, -room, room)
    middle = xy - centre[:2]
    if shaft:
        middle, turn = shaft.in_base(middle), Rotation.from_euler("z", shaft.yaw) * turn
    position = [*middle.tolist(), floor + 0.01 - low[2]]
    physics.client.resetBasePositionAndOrientation(body, position, turn.as_quat().tolist())
    return body


def _drop_all(
    physics: Physics, spec: SceneSpec, objects: list[PlacedObject], random: np.random.Generator
) -> dict[int, PlacedObject]:
    """Drop one after another inside walls; those of a pile are then taken away."""
    if spec.bin:
        shaft = replace(spec.bin, inner=(*spec.bin.inner[:2], 1.0))
        spread = shaft.spread * np.array(shaft.half)
    else:
        side = min(spec.scale * 0.22 * math.sqrt(max(1.0, len(objects) / 6)), 2 * spec.workspace[0] - 0.02 * spec.scale)
        shaft = Bin((side, side, 1.0))
        spread = np.maximum(np.array(shaft.half) - 0.07 * spec.scale, 0.01 * spec.scale)
    # The walls keep the heap together while it forms; objects then spread as they would when a box is lifted off them.
    temporary = walls(physics, shaft, drawn=False)
    bodies: dict[int, PlacedObject] = {}
    for placed in objects:
        # From just above the heap: a free fall from a fixed height scatters what lies there.
        top = max((physics.client.getAABB(body)[1][2] for body in bodies), default=0.0)
        if spec.kind == "leaning" and random.random() < LEANS:
            bodies[drop(physics, placed, *_against_wall(physics, placed, shaft, random), top, shaft)] = placed
        else:
            xy = random.uniform(-spread, spread)
            if shaft.at_wall:
                xy = np.where(random.random(2) < shaft.at_wall, np.copysign(shaft.half, xy), xy)
            bodies[drop(physics, placed, xy, _turn(spec, random), top, shaft if shaft.at_wall else None)] = placed
        physics.step(physics.steps_in(0.4))
    physics.settle(list(bodies), 1.0)
    for wall in temporary:
        physics.client.removeBody(wall)
    for body in bodies:
        physics.client.changeDynamics(body, -1, activationState=AWAKE)
    return bodies


def _against_wall(
    physics: Physics, placed: PlacedObject, shaft: Bin, random: np.random.Generator
) -> tuple[np.ndarray, Rotation]:
    """Place (2,), m, and turn, in the bin's frame, of an object whose longest side leans towards one of the walls."""
    body = placed.spawn(physics)
    low, high = (np.array(corner) for corner in physics.client.getAABB(body))
    physics.client.removeBody(body)
    along = random.uniform(-1, 1) * np.array(shaft.half)
    wall = int(random.integers(2))
    towards = np.zeros(3)
    towards[wall] = math.copysign(1.0, random.random() - 0.5)
    along[wall] = towards[wall] * shaft.half[wall]
    axis = np.cross([0.0, 0.0, 1.0], towards)
    upright = Rotation.from_euler("z", random.uniform(-math.pi, math.pi)) * UP[int(np.argmax(high - low))]
    return along, Rotation.from_rotvec(random.uniform(*LEANT) * axis) * upright


def _set_close(
    physics: Physics, spec: SceneSpec, objects: list[PlacedObject], fixed: list[int], random: np.random.Generator
) -> dict[int, PlacedObject]:
    """Stand each object, longest side up if that is stable enough, as near to the middle as 5 mm of air (by scale) allow; in a
    shelf about a place of its own, a share of them turned any way, clear of the bodies `fixed`."""
    bodies: dict[int, PlacedObject] = {}
    middle = np.zeros(2)
    if spec.shelf:
        inside = random.uniform(-IN_SHELF, IN_SHELF, 2) * spec.shelf.half
        middle = spec.shelf.pose[:2, :2] @ inside + spec.shelf.centre
    for placed in objects:
        body = placed.spawn(physics)
        low, high = (np.array(corner) for corner in physics.client.getAABB(body))
        turn = Rotation.from_euler("z", random.uniform(-math.pi, math.pi)) * _standing(high - low)
        if spec.shelf and random.random() < LYING:
            turn = Rotation.random(rng=random)
        _find_room(physics, spec, body, turn.as_quat().tolist(), [*bodies, *fixed], random, middle)
        bodies[body] = placed
    return bodies


def _set_down_again(
    physics: Physics, spec: SceneSpec, resting: list[PlacedObject], lost: list[PlacedObject], random: np.random.Generator
) -> dict[int, PlacedObject]:
    """The scene as it rests, and the lost objects, turned at random: on the table near the middle, or on the heap."""
    physics.reset()
    fixed = [body for body, name in surroundings(physics, spec).items() if name != "table"]
    bodies = {placed.spawn(physics): placed for placed in resting}
    for placed in lost:
        body = placed.spawn(physics)
        _find_room(physics, spec, body, Rotation.random(rng=random).as_quat().tolist(), [*bodies, *fixed], random)
        bodies[body] = placed
    return bodies


def _standing(extents: np.ndarray) -> Rotation:
    """Turn of an object with these extents (3,) that puts its longest side up, or its middle one if it would topple."""
    order = np.argsort(extents)
    # An object taller than about twice its narrow side topples at a touch: then the middle side goes up.
    up = int(order[2] if extents[order[0]] > 0.45 * extents[order[2]] else order[1])
    return UP[up]


def _find_room(
    physics: Physics,
    spec: SceneSpec,
    body: int,
    turn: list[float],
    others: list[int],
    random: np.random.Generator,
    about: np.ndarray = ORIGIN,
) -> None:
    """Move the body outwards from `about` (2,), m, until it has 5 mm of air around it; without such a place, above all others,
    or, where a ceiling is, out of the way."""
    client, half = physics.client, np.array(spec.workspace)
    client.resetBasePositionAndOrientation(body, [0, 0, 0], turn)
    low, high = (np.array(corner) for corner in client.getAABB(body))
    rest, centre = 0.001 - low[2], (low + high) / 2
    for radius in np.arange(0.0, half.max(), 0.01 * spec.scale):
        for angle in random.uniform(-math.pi, math.pi, 6):
            middle = about + radius * np.array([math.cos(angle), math.sin(angle)])
            if not spec.holds(*middle):
                continue
            client.resetBasePositionAndOrientation(body, [*(middle - centre[:2]).tolist(), rest], turn)
            if not any(client.getClosestPoints(body, other, 0.005 * spec.scale) for other in others):
                return
    if spec.shelf:
        client.resetBasePositionAndOrientation(body, BESIDE_ALL, turn)
        return
    top = max(client.getAABB(other)[1][2] for other in others)
    middle = random.uniform(-half, half) / 3
    client.resetBasePositionAndOrientation(body, [*(middle - centre[:2]).tolist(), top + 0.01 - low[2]], turn)
