"""Scenes in which one thing is wanted: enclosed by others, among things scattered over the table, or as a preset file says."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from sim_worker.world.simulation.cases import case_objects
from sim_worker.world.simulation.fixtures import surroundings
from sim_worker.world.simulation.physics import AWAKE, Physics
from sim_worker.world.simulation.placement import PlacedObject, drop, settled
from sim_worker.world.simulation.spec import DEFAULT_COUNTS, SceneSpec

POOL = 12
"""Objects among which the goal of an enclosed scene and its neighbours are chosen."""
APART = 0.25
"""m between objects that come to rest alone, before they are put together."""
GOAL_SPREAD = 0.05
"""m: how far the goal of an enclosed scene stands from the middle, at most, along x and y."""
LOWER = 0.008
"""m by which a neighbour may be lower than the goal: over a lower one a finger reaches the goal's side."""
LEAST_HEIGHT, LARGEST_SIDE = 0.02, 0.075
"""m: a goal is at least so high and at most so wide, or no jaw would hold it."""
FEWEST_NEIGHBOURS = 2
OPPOSITE = 0.8
"""Share of scenes whose first two neighbours stand on opposite sides of the goal: a jaw can then come in on one axis only."""
FLUSH = 0.6
"""Share of the further neighbours that stand flush with a side of the goal; others come from anywhere."""
SLIDE_OFFSET = 0.02
"""m: half-range of where along a side a flush neighbour stands."""
YAW_ERROR = math.radians(4.0)
"""Standard deviation of how far a flush neighbour is turned from flush, rad."""
TOUCHING = 0.0004
"""m of air that counts as touching."""
SLIDE_STEPS = 25
TRIES, NEAR = 4, 0.003
"""So often a neighbour is slid up before it may stand against another neighbour instead of so near to the goal, m."""
DROP_SPREAD = 0.124
"""m: half side of the square over which scattered objects are dropped, as in published work."""
DROP_SECONDS = 0.4
LEAST_SHARE = 0.6
"""Of the scattered objects that must stay in the workspace."""


def arrange_clutter(
    physics: Physics, spec: SceneSpec, objects: list[PlacedObject], random: np.random.Generator
) -> list[PlacedObject] | None:
    """The objects where they rest, of an enclosed scene the goal first; None if too few do for the scene to count."""
    physics.reset()
    surroundings(physics, spec)
    if spec.kind == "enclosed":
        bodies = _enclose(physics, spec, objects, random)
        found = settled(physics, bodies, spec.holds)
        whole = len(found) > FEWEST_NEIGHBOURS and found[0].name == next(iter(bodies.values())).name
        return found if whole else None
    if spec.kind == "case":
        assert spec.case is not None
        objects = case_objects(physics, spec.case, objects)
        bodies = {placed.spawn(physics): placed for placed in objects}
    else:
        bodies = _scatter(physics, objects, random)
    found = settled(physics, bodies, spec.holds)
    return found if found and len(found) >= LEAST_SHARE * len(objects) else None


def _scatter(physics: Physics, objects: list[PlacedObject], random: np.random.Generator) -> dict[int, PlacedObject]:
    bodies: dict[int, PlacedObject] = {}
    for placed in objects:
        # From just above the heap, as in `placement`: a free fall from a fixed height scatters what lies there.
        top = max((physics.client.getAABB(body)[1][2] for body in bodies), default=0.0)
        xy = random.uniform(-DROP_SPREAD, DROP_SPREAD, 2)
        bodies[drop(physics, placed, xy, Rotation.random(rng=random), top)] = placed
        physics.step(physics.steps_in(DROP_SECONDS))
    return bodies


class _Standing:
    """An object that rests on the table, turned so that the rectangle round its footprint is smallest."""

    def __init__(self, physics: Physics, body: int) -> None:
        self.client, self.body = physics.client, body
        position, turn = self.client.getBasePositionAndOrientation(body)
        rest = Rotation.from_quat(turn)
        sides = [self._extent(Rotation.from_euler("z", yaw) * rest) for yaw in _YAWS]
        best = int(np.argmin([width * length for width, length in sides]))
        self.rest = Rotation.from_euler("z", _YAWS[best]) * rest
        self.height_of_centre = position[2]
        self.set(np.zeros(2), 0.0)
        low, high = (np.array(corner) for corner in self.client.getAABB(body))
        self.half, self.offset, self.top = (high - low)[:2] / 2, ((low + high) / 2)[:2], float(high[2])

    def _extent(self, turn: Rotation) -> tuple[float, float]:
        self.client.resetBasePositionAndOrientation(self.body, [0, 0, 1], turn.as_quat().tolist())
        low, high = self.client.getAABB(self.body)
        return high[0] - low[0], high[1] - low[1]

    def set(self, centre: np.ndarray, yaw: float) -> None:
        """Stand it with its centre of mass over `centre` (2,), m, turned by `yaw` (rad)."""
        turn = (Rotation.from_euler("z", yaw) * self.rest).as_quat().tolist()
        self.client.resetBasePositionAndOrientation(self.body, [*centre.tolist(), self.height_of_centre], turn)

    def distance(self, others: Sequence["_Standing"], reach: float) -> float:
        """m to the nearest of the others, at most `reach`."""
        points = (self.client.getClosestPoints(self.body, other.body, reach) for other in others)
        return float(min((point[8] for each in points for point in each), default=reach))


_YAWS = np.radians(np.arange(0, 90, 5))


def _enclose(
    physics: Physics, spec: SceneSpec, objects: list[PlacedObject], random: np.random.Generator
) -> dict[int, PlacedObject]:
    """A goal near the middle and neighbours slid up to it until they touch; the goal first. The spec's own objects, if it names
    some, in its order: its first is the goal."""
    bodies = _rest_apart(physics, objects, random)
    standing = [_Standing(physics, body) for body in bodies]
    for number, each in enumerate(standing):
        each.set(np.array([2.0 + APART * number, 2.0]), 0.0)
    chosen = list(standing) if spec.objects else _choose(spec, standing, random)
    for each in standing:
        if each not in chosen:
            physics.client.removeBody(each.body)
    if not chosen:
        return {}
    goal, yaw = chosen[0], float(random.uniform(-math.pi, math.pi))
    middle = random.uniform(-GOAL_SPREAD, GOAL_SPREAD, 2)
    goal.set(middle, yaw)
    there, sides = [goal], yaw + math.pi / 2 * random.permutation(4)
    if random.random() < OPPOSITE:
        sides[1] = sides[0] + math.pi
    for number, neighbour in enumerate(chosen[1:]):
        for attempt in range(TRIES):
            flush = number + attempt < 2 or random.random() < FLUSH
            side = float(sides[(number + attempt) % 4]) if flush else float(random.uniform(-math.pi, math.pi))
            beside = _slide_in(neighbour, middle, side, flush, there, random)
            if beside and neighbour.distance([goal], NEAR) < NEAR:
                break
        if beside:
            there.append(neighbour)
        else:
            physics.client.removeBody(neighbour.body)
    for each in there:
        physics.client.changeDynamics(each.body, -1, activationState=AWAKE)
        physics.client.resetBaseVelocity(each.body, [0, 0, 0], [0, 0, 0])
    return {each.body: bodies[each.body] for each in there}


def _choose(spec: SceneSpec, standing: list[_Standing], random: np.random.Generator) -> list[_Standing]:
    """A goal and things that are high enough to enclose it; none where nothing fits."""
    low, high = (spec.count, spec.count) if spec.count else DEFAULT_COUNTS["enclosed"]
    wanted = int(random.integers(low, high + 1)) - 1
    for goal in (standing[place] for place in random.permutation(len(standing))):
        if goal.top < LEAST_HEIGHT * spec.scale or 2 * goal.half.min() > LARGEST_SIDE * spec.scale:
            continue
        others = [each for each in standing if each is not goal and each.top >= goal.top - LOWER]
        if len(others) >= max(FEWEST_NEIGHBOURS, min(wanted, 4)):
            return [goal, *others[:wanted]]
    return []


def _slide_in(
    neighbour: _Standing, middle: np.ndarray, side: float, flush: bool, there: list[_Standing], random: np.random.Generator
) -> bool:
    """Move it towards the goal from `side` (rad) until it touches something; False where it would pass by all."""
    towards = -np.array([math.cos(side), math.sin(side)])
    across = np.array([-towards[1], towards[0]])
    quarter = math.pi / 2 * float(random.integers(4))
    yaw = side + quarter + random.normal(0, YAW_ERROR) if flush else float(random.uniform(-math.pi, math.pi))
    start = middle + float(random.uniform(-SLIDE_OFFSET, SLIDE_OFFSET)) * across - 0.45 * towards
    way = 0.0
    for _ in range(SLIDE_STEPS):
        neighbour.set(start + way * towards, yaw)
        free = neighbour.distance(there, 0.5)
        if free < TOUCHING:
            return True
        # No part of it is nearer than that, so this far it can go whatever its shape is.
        way += free - TOUCHING / 2
        if way > 0.45:
            return False
    return free < 10 * TOUCHING


def _rest_apart(physics: Physics, objects: list[PlacedObject], random: np.random.Generator) -> dict[int, PlacedObject]:
    """Each as it comes to rest when it is dropped alone, turned at random; what does not is left out."""
    columns = math.ceil(math.sqrt(len(objects)))
    bodies = {}
    for number, placed in enumerate(objects):
        place = APART * (np.array([number % columns, number // columns]) - (columns - 1) / 2)
        bodies[drop(physics, placed, place, Rotation.random(rng=random))] = placed
    resting = {placed.name for placed in settled(physics, bodies, lambda x, y: max(abs(x), abs(y)) < 0.9)}
    for body in [body for body, placed in bodies.items() if placed.name not in resting]:
        physics.client.removeBody(body)
        del bodies[body]
    return bodies
