"""Straight pushes of a closed hand that its way down and the workspace allow, and that move the goal or what is beside it.

scene = observe_scene(observation, request, device)                      # in metres; request.camera is given
goal = goal_cells(scene.map, scene.camera, mask)                         # shared.features.push
found = push_candidates(scene, goal, request_push, np.random.default_rng(seed))
features = push_features(scene.map, goal, found.paths, request.gripper, goal_quality)      # (N, 24)
pushes = wire_pushes(scene, found.paths, qualities)                      # planning.push.wire: poses to execute
"""

from collections import Counter
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from grasp_client.contract import PushOptions
from planning.limits import PADDING, PALM_GAP
from planning.push.rolling import rolls
from planning.scene.projection import camera_pixels
from planning.scene.region import outside_region
from planning.scene.scene import PlanningScene
from shared.features.push import PushPaths, hand_extent, raised_cells

MOST = 160
"""Candidates of one decision."""
TRIES = 5
"""Pushes drawn for each candidate that is wanted."""
TABLE_GAP, GOAL_SHARE = 0.010, 0.5
"""Tips go this far above the table, m, or this share of the goal's height where that is less, and never below LEAST_GAP."""
LEAST_GAP = 0.003
ABOVE = 0.004
"""So far above whatever lies under the fingertips they stop, m."""
TOUCH = 0.006
"""What rises so far over the tips is pushed by them, m: over less they slip."""
LOWER = 0.005
"""The closing axis lies along a push where the tips then come so much lower, m."""
BESIDE = 0.05
"""Neighbours so near to the goal are worth a push, m."""
LOOK_BACK = 0.01
"""Step, m, by which a free place for the fingers is looked for before what is pushed."""
ROOM = 0.012
"""Most room left there between fingers and thing, m: drawn up to this."""
ANYWHERE = 0.25
"""Share of pushes that begin anywhere on their line."""
LEAST_EFFECT = 0.01
"""Least way that a push goes on after its first contact, m."""
MARGIN = 0.024
"""The middle of the goal stays this far within the workspace, m."""
ROLLED = 0.20
"""So far what rolls is expected to roll on, m: the worst tenth of balls and capsules went so much farther than the hand."""
TOUCHING = 0.008
"""Things so near to the goal take it along, m. Of 258 pushes in 50 scenes of blocks and of clutter whose hand met such a thing
and never the goal, a quarter took the goal half of the way that the hand went on, and a tenth all of it."""
FALL = 0.02
"""What lies so far under the table is beyond its edge, m."""
WALL_GAP = 0.003
"""Between fingers and the wall of a bin, m."""
PALM_STEP = 0.012
SAMPLES = (9, 11)
"""Of the fingertips, along and across a push."""


@dataclass(frozen=True)
class PushCandidates:
    """N pushes; goal_end (N, 2): where the goal's middle is expected after each, map x, y, m; rejected: pushes that were drawn
    and refused, by reason (`no_contact`, `no_depth`, `workspace`, `region`, `segmask`, `bin`)."""

    paths: PushPaths
    goal_end: np.ndarray
    rejected: Counter[str]

    def __len__(self) -> int:
        return len(self.paths)

    def pick(self, which: np.ndarray) -> "PushCandidates":
        """Those at indices or where a mask (N,) is true."""
        return PushCandidates(self.paths.pick(which), self.goal_end[which], self.rejected)


def push_candidates(
    scene: PlanningScene, goal: np.ndarray, options: PushOptions, generator: np.random.Generator, most: int = MOST
) -> PushCandidates:
    """At most `most` pushes, in no order. goal: its cells (H, W) bool; none of them: no push.

    Tips come down TABLE_GAP above the table, or as much higher as what lies under them, and the palm on its way, ask for; the
    closing axis lies across the push, or along it where the tips then come lower. Left out is what comes down on something
    unseen, meets nothing, begins or ends outside of the request's region, meets first what is not in its segmask, runs into a
    bin's wall, or would take the goal out of the workspace or off what is seen of the table.
    """
    raised = raised_cells(scene.map) & (True if scene.inside is None else scene.inside)
    goal = goal & raised
    if not goal.any():
        return PushCandidates(_drawn(scene, goal, goal, options, generator, 0), np.zeros((0, 2)), Counter())
    drawn = _drawn(scene, goal, raised, options, generator, TRIES * most)
    drawn, refused = _lowered(scene, goal, drawn)
    contact, end = _foreseen(scene, goal, raised, drawn)
    refused["no_contact"] = ~(contact + LEAST_EFFECT < drawn.length)
    refused["workspace"] = _leaves(scene, goal, end, options)
    refused |= _outside(scene, drawn, contact)
    if scene.bin:
        refused["bin"] = _in_wall(scene, drawn)
    keep, rejected = np.ones(len(drawn), bool), Counter[str]()
    for reason, where in refused.items():
        rejected[reason] += int((keep & where).sum())
        keep &= ~where
    chosen = np.flatnonzero(keep)[:most]
    return PushCandidates(drawn.pick(chosen), end[chosen], rejected)


def _drawn(
    scene: PlanningScene, goal: np.ndarray, raised: np.ndarray, options: PushOptions, generator: np.random.Generator, count: int
) -> PushPaths:
    """Pushes, alternately of the goal and of what stands near to it, most of which begin where the fingers have room."""
    resolution, corner = scene.map.resolution, scene.map.corner
    distance = cv2.distanceTransform((~goal).astype(np.uint8), cv2.DIST_L2, 3) * resolution
    targets = [np.argwhere(goal), np.argwhere(raised & ~goal & (distance < BESIDE))]
    of_goal = (np.arange(count) % 2 == 0) | (len(targets[1]) == 0)
    cell = np.zeros((count, 2), int)
    for own, cells in zip((of_goal, ~of_goal), targets, strict=True):
        if own.any():
            cell[own] = cells[generator.integers(len(cells), size=int(own.sum()))]
    x, y = corner[0] + resolution * cell[:, 1], corner[1] + resolution * cell[:, 0]
    direction = generator.uniform(-np.pi, np.pi, count)
    length = generator.uniform(options.min_length, options.max_length, count)
    cos, sin = np.cos(direction), np.sin(direction)
    back = LOOK_BACK * np.arange(1, int(options.max_length / LOOK_BACK) + 1)
    radius = max(scene.pad[0], scene.gripper.finger_width / 2) + PADDING
    ground = scene.map.table_map + np.float32(TABLE_GAP - ABOVE)
    span = 2 * round(radius / resolution) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (span, span))
    taken = cv2.dilate((scene.obstacle.cpu().numpy() > ground).astype(np.uint8), disc)
    free = _at(scene, taken, x[:, None] - back * cos[:, None], y[:, None] - back * sin[:, None]) == 0
    some = free.any(1) & (generator.random(count) >= ANYWHERE)
    first = back[free.argmax(1)] if len(back) else np.zeros(count)
    start = np.where(some, first + generator.uniform(0, ROOM, count), generator.uniform(0, 1, count) * length)
    none = np.zeros(count)
    return PushPaths(x - start * cos, y - start * sin, direction, length, none, np.zeros(count, bool))


def _at(scene: PlanningScene, layer: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cells of a layer (H, W) at map x, y (any shape); beyond the map its edge goes on."""
    rows, columns = layer.shape
    column = np.rint((x - scene.map.corner[0]) / scene.map.resolution).astype(int).clip(0, columns - 1)
    row = np.rint((y - scene.map.corner[1]) / scene.map.resolution).astype(int).clip(0, rows - 1)
    found: np.ndarray = layer[row, column]
    return found


def _lattice(paths: PushPaths, along: np.ndarray, across: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Map x, y (N, A, B) of places along (N, A) and across (N, B) pushes, m from their starts."""
    cos, sin = np.cos(paths.direction)[:, None, None], np.sin(paths.direction)[:, None, None]
    ahead, aside = along[:, :, None], across[:, None, :]
    return paths.x[:, None, None] + ahead * cos - aside * sin, paths.y[:, None, None] + ahead * sin + aside * cos


def _highest(scene: PlanningScene, layer: np.ndarray, paths: PushPaths, low: np.ndarray, high: np.ndarray, half: np.ndarray,
             samples: tuple[int, int]) -> np.ndarray:  # fmt: skip
    """Greatest (N,) of a layer over rectangles that reach from `low` to `high` (N,) along pushes and `half` (N,) beside, m."""
    share, aside = np.linspace(0, 1, samples[0]), np.linspace(-1, 1, samples[1])
    found = _at(scene, layer, *_lattice(paths, low[:, None] + share * (high - low)[:, None], half[:, None] * aside))
    highest: np.ndarray = found.max((1, 2))
    return highest


def _lowered(scene: PlanningScene, goal: np.ndarray, paths: PushPaths) -> tuple[PushPaths, dict[str, np.ndarray]]:
    """The pushes with their tips as low as they may go and their closing axis as the palm allows, and which are refused."""
    gripper, table = scene.gripper, scene.table
    rise = float(np.quantile((scene.map.height - scene.map.table_map)[goal], 0.95))
    gap = float(np.clip(GOAL_SHARE * rise, LEAST_GAP, TABLE_GAP))
    end_x, end_y = (first + paths.length * turn(paths.direction) for first, turn in ((paths.x, np.cos), (paths.y, np.sin)))
    ground = np.maximum(table[0] * paths.x + table[1] * paths.y, table[0] * end_x + table[1] * end_y)
    obstacle = scene.obstacle.cpu().numpy()
    tips = []
    for turned in (np.zeros(len(paths), bool), np.ones(len(paths), bool)):
        half_along, half_across = hand_extent(gripper, turned)
        under = _highest(scene, obstacle, paths, -half_along - PADDING, half_along + PADDING, half_across + PADDING, SAMPLES)
        tip = np.maximum(ground + gap, under + ABOVE)
        tips.append(np.maximum(tip, np.maximum(_fingers_free(scene, paths, turned), _palm_free(scene, paths, turned))))
    turned = tips[1] < tips[0] - LOWER
    tip = np.where(turned, tips[1], tips[0])
    unseen = ~np.isfinite(tip)
    return PushPaths(paths.x, paths.y, paths.direction, paths.length, np.where(unseen, 0, tip), turned), {"no_depth": unseen}


def _fingers_free(scene: PlanningScene, paths: PushPaths, turned: np.ndarray) -> np.ndarray:
    """Least height (N,) of the tips, m, with which the thick part of the fingers, above their pads, comes down on nothing."""
    gripper = scene.gripper
    pad, height = gripper.pad
    half_along, half_across = hand_extent(gripper, turned)
    more = gripper.finger_thickness - pad
    half_along, half_across = half_along + np.where(turned, more, 0), half_across + np.where(turned, 0, more)
    highest = _highest(scene, scene.upper_bound.cpu().numpy(), paths, -half_along, half_along, half_across, SAMPLES)
    free: np.ndarray = highest - height
    return free


def _palm_free(scene: PlanningScene, paths: PushPaths, turned: np.ndarray) -> np.ndarray:
    """Least height (N,) of the tips, m, with which the palm meets nothing anywhere on its way."""
    gripper = scene.gripper
    long, thin = gripper.palm_width / 2, gripper.palm_thickness / 2
    half_along, half_across = np.where(turned, long, thin), np.where(turned, thin, long)
    longest = float((paths.length + 2 * half_along).max(initial=0.0))
    samples = int(longest / PALM_STEP) + 2, int(2 * float(half_across.max(initial=0.0)) / PALM_STEP) + 2
    highest = _highest(scene, scene.dilated.cpu().numpy(), paths, -half_along, paths.length + half_along, half_across, samples)
    free: np.ndarray = highest + PALM_GAP - gripper.finger_depth
    return free


def _foreseen(scene: PlanningScene, goal: np.ndarray, raised: np.ndarray, paths: PushPaths) -> tuple[np.ndarray, np.ndarray]:
    """How far (N,) a push goes until it meets something, m, infinite where it never does; and where (N, 2) the goal's middle is
    expected after it.

    The goal goes on with the hand from where that, or what it pushes before it, comes to the goal, and then as it rolls. Where
    the hand never comes to the goal, it goes as far as what touches it may take it along.
    """
    half_along, half_across = hand_extent(scene.gripper, paths.turned)
    step = 2 * scene.map.resolution
    ahead = np.arange(0.0, float(paths.length.max(initial=0.0)) + step, step)
    along = half_along[:, None] + ahead
    x, y = _lattice(paths, along, half_across[:, None] * np.linspace(-1, 1, SAMPLES[1]))
    high = _at(scene, scene.seen.cpu().numpy(), x, y) > paths.tip[:, None, None] + TOUCH
    met: np.ndarray = high.max(2)
    of_goal, of_touching = ((high & _at(scene, cells, x, y)).max(2) for cells in (goal, _touching(scene, goal, raised)))
    first, to_goal, to_touching = (
        np.where(found.any(1), ahead[found.argmax(1)], np.inf) for found in (met, of_goal, of_touching)
    )
    taken = step * (met & (ahead < to_goal[:, None])).sum(1)
    pushed = np.where(np.isfinite(to_goal), (paths.length - to_goal + taken).clip(min=0), 0.0)
    pushed += np.where((pushed > 0) & rolls(scene.map, goal, paths.direction), ROLLED, 0.0)
    carried = (paths.length - to_touching).clip(min=0)
    moved = np.where(np.isfinite(to_goal), pushed, carried)
    row, column = np.nonzero(goal)
    middle = np.array(scene.map.corner) + scene.map.resolution * np.array([column.mean(), row.mean()])
    return first, middle + moved[:, None] * np.stack([np.cos(paths.direction), np.sin(paths.direction)], 1)


def _touching(scene: PlanningScene, goal: np.ndarray, raised: np.ndarray) -> np.ndarray:
    """Cells (H, W) bool of the things that stand against the goal, with whatever stands against those."""
    others = raised & ~goal
    count, label = cv2.connectedComponents(others.astype(np.uint8), connectivity=4)
    distance = cv2.distanceTransform((~goal).astype(np.uint8), cv2.DIST_L2, 3) * scene.map.resolution
    touch = np.zeros(count, bool)
    touch[label[others & (distance <= TOUCHING)]] = True
    cells: np.ndarray = touch[label]
    return cells


def _leaves(scene: PlanningScene, goal: np.ndarray, end: np.ndarray, options: PushOptions) -> np.ndarray:
    """Whether (N,) the goal's middle would go farther out of the workspace, or to where no table is seen."""
    row, column = np.nonzero(goal)
    middle = np.array(scene.map.corner) + scene.map.resolution * np.array([[column.mean(), row.mean()]])
    rows, columns = goal.shape
    low, high = np.array(scene.map.corner), np.array(scene.map.corner) + scene.map.resolution * np.array([columns, rows])
    lost = ((end < low + MARGIN) | (end > high - MARGIN)).any(1)
    lost |= _at(scene, scene.map.unobserved | (scene.map.height - scene.map.table_map < -FALL), *end.T)
    lost &= np.hypot(*(end - middle).T) > 0
    if options.workspace is not None and scene.camera_pose is not None:
        x0, y0, x1, y1 = options.workspace
        limits = np.array([x0 + MARGIN, y0 + MARGIN]), np.array([x1 - MARGIN, y1 - MARGIN])
        to_base = scene.camera_pose @ scene.map.pose
        beyond = []
        for places in (middle, end):
            heights = -(places @ np.array(scene.table))
            base = np.concatenate([places, heights[:, None]], 1) @ to_base[:3, :3].T + to_base[:3, 3]
            beyond.append(np.maximum(limits[0] - base[:, :2], base[:, :2] - limits[1]).clip(min=0).max(1))
        lost |= beyond[1] > beyond[0] + 1e-6
    result: np.ndarray = lost
    return result


def _outside(scene: PlanningScene, paths: PushPaths, contact: np.ndarray) -> dict[str, np.ndarray]:
    """By reason, which pushes (N,) the request's region and segmask do not allow. contact (N,): way to the first contact, m."""
    if scene.request.region is None and scene.observation.segmask is None:
        return {}
    half_along, _ = hand_extent(scene.gripper, paths.turned)
    reached = np.where(np.isfinite(contact), contact + half_along, 0.0)
    away = np.stack([np.zeros(len(paths)), paths.length, reached])
    x, y = (first + away * turn(paths.direction) for first, turn in ((paths.x, np.cos), (paths.y, np.sin)))
    points = np.stack([x, y, np.broadcast_to(-paths.tip, x.shape)], 2).reshape(-1, 3)
    pixels = camera_pixels(scene, torch.from_numpy(points @ scene.map.pose[:3, :3].T + scene.map.pose[:3, 3]))
    region, segmask = (each.numpy().reshape(3, -1) for each in outside_region(scene, pixels).values())
    return {"region": region[0] | region[1], "segmask": segmask[2]}


def _in_wall(scene: PlanningScene, paths: PushPaths) -> np.ndarray:
    """Whether (N,) the fingers would meet a wall of the bin: its inside is convex, so that both ends tell."""
    assert scene.bin is not None
    half_along, half_across = (each[:, None] for each in hand_extent(scene.gripper, paths.turned))
    along = np.concatenate([-half_along, half_along + paths.length[:, None]], 1)
    x, y = _lattice(paths, along, np.concatenate([-half_across, half_across], 1))
    gap: np.ndarray = scene.bin.gap(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    met: np.ndarray = gap.min((1, 2)) < WALL_GAP
    return met
