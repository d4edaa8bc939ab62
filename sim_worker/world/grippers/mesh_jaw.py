"""The Franka Panda hand as its maker draws it, on a floating base: executes what planned for boxes.

The meshes of hand and finger (pybullet_data) are cut across the approach where their outline changes, so that every piece is
convex: a physics engine collides with the hull of a mesh, and that of a whole finger fills what is hollow above its pad.
"""

import itertools
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pybullet
import pybullet_data
from scipy.spatial import ConvexHull

from grasp_client.contract import Gripper
from sim_worker.world.grippers.floating_base import METAL, RUBBER
from sim_worker.world.grippers.jaw import Jaw
from sim_worker.world.simulation.collision_probe import CollisionProbe, hull_probe
from sim_worker.world.simulation.physics import HULL_SKIN, Physics

FINGER_FROM_HAND = 0.0584
"""m along the approach from the frame of the hand's mesh to that of the fingers'; Franka's description."""
HAND_CUTS = (0.0085,)
"""m: the flange is thicker than the hand before it."""
FINGER_CUTS = (0.0045, 0.0185, 0.0358)
"""m: rail, arm, slanted web, pad."""
MESHES = Path(pybullet_data.getDataPath()) / "franka_panda" / "meshes" / "visual"


@dataclass(frozen=True)
class Hulls:
    """Convex pieces that are one part of a hand: corners (N, 3) of each in the tip frame, m."""

    pieces: tuple[np.ndarray, ...]
    colour: tuple[float, float, float, float]

    def shapes(self, physics: Physics) -> tuple[int, int]:
        """Collision and visual shape."""
        with tempfile.TemporaryDirectory() as folder:
            solid, drawn = Path(folder) / "solid.obj", Path(folder) / "drawn.obj"
            # Bullet pads hulls: what it collides with is to end where the mesh ends.
            solid.write_text(_obj([_inset(piece) for piece in self.pieces]))
            drawn.write_text(_obj(self.pieces))
            collision = physics.client.createCollisionShape(pybullet.GEOM_MESH, fileName=str(solid))
            visual = physics.client.createVisualShape(pybullet.GEOM_MESH, fileName=str(drawn), rgbaColor=self.colour)
        return collision, visual


class MeshJaw(Jaw):
    """The hand in the world of `physics`."""

    def __init__(self, physics: Physics, gripper: Gripper, friction: float) -> None:
        right, left = (Hulls(finger_pieces(side), RUBBER) for side in (1, -1))
        super().__init__(physics, gripper, friction, (Hulls(palm_pieces(), METAL), right, left))


def mesh_probes(opening: float) -> list[CollisionProbe]:
    """All of the hand at this opening (m), drawn out backwards."""
    aside = np.array([opening / 2, 0.0, 0.0])
    fingers = [piece + side * aside for side in (1, -1) for piece in finger_pieces(side)]
    return [hull_probe(piece) for piece in (*fingers, *palm_pieces())]


@lru_cache(maxsize=1)
def palm_pieces() -> tuple[np.ndarray, ...]:
    """Corners (N, 3) of the convex pieces of the hand without its fingers, in the tip frame, m."""
    return tuple(_in_tip_frame(piece, 0.0, 1) for piece in _pieces(*_mesh("hand"), HAND_CUTS))


@lru_cache(maxsize=2)
def finger_pieces(side: int) -> tuple[np.ndarray, ...]:
    """The same of one finger, closed; `side` 1 or -1 of the middle along x."""
    return tuple(_in_tip_frame(piece, FINGER_FROM_HAND, side) for piece in _pieces(*_mesh("finger"), FINGER_CUTS))


def _in_tip_frame(points: np.ndarray, along: float, side: int) -> np.ndarray:
    """From the frame of a mesh, which lies `along` the hand's: fingers move along y there, and x is across."""
    tip = FINGER_FROM_HAND + float(_mesh("finger")[0][:, 2].max())
    return np.stack([side * points[:, 1], -side * points[:, 0], points[:, 2] + along - tip], 1)


@lru_cache(maxsize=2)
def _mesh(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Corners (V, 3), m, and triangles (F, 3) of one of MESHES."""
    corners, triangles = [], []
    for line in (MESHES / f"{name}.obj").read_text().splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            corners.append([float(word) for word in words[:3]])
        elif kind == "f":
            face = [int(word.split("/")[0]) - 1 for word in words]
            triangles += [[face[0], *pair] for pair in itertools.pairwise(face[1:])]
    return np.array(corners), np.array(triangles)


def _pieces(corners: np.ndarray, triangles: np.ndarray, cuts: tuple[float, ...]) -> list[np.ndarray]:
    """Corners (N, 3) of the hulls of what lies between the heights `cuts` of a mesh."""
    bounds = [-np.inf, *cuts, np.inf]
    pieces = []
    for low, high in itertools.pairwise(bounds):
        inside = corners[(corners[:, 2] >= low) & (corners[:, 2] <= high)]
        points = np.vstack([inside, *(_section(corners, triangles, cut) for cut in (low, high) if np.isfinite(cut))])
        pieces.append(points[ConvexHull(points).vertices])
    return pieces


def _section(corners: np.ndarray, triangles: np.ndarray, height: float) -> np.ndarray:
    """Where the edges (N, 3) of a mesh pass a height, m."""
    found = []
    for a, b in ((0, 1), (1, 2), (2, 0)):
        start, end = corners[triangles[:, a]], corners[triangles[:, b]]
        passes = (start[:, 2] - height) * (end[:, 2] - height) < 0
        share = (height - start[passes, 2]) / (end[passes, 2] - start[passes, 2])
        found.append(start[passes] + share[:, None] * (end[passes] - start[passes]))
    return np.vstack(found)


def _inset(piece: np.ndarray) -> np.ndarray:
    """The piece with its sides HULL_SKIN farther inside, as its box has them."""
    middle, half = (piece.max(0) + piece.min(0)) / 2, (piece.max(0) - piece.min(0)) / 2
    result: np.ndarray = middle + (piece - middle) * (half - HULL_SKIN) / half
    return result


def _obj(pieces: tuple[np.ndarray, ...] | list[np.ndarray]) -> str:
    """The pieces as objects of a Wavefront file, closed hulls."""
    lines, count = [], 1
    for number, piece in enumerate(pieces):
        lines += [f"o piece{number}", *(f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in piece)]
        lines += [f"f {a + count} {b + count} {c + count}" for a, b, c in ConvexHull(piece).simplices]
        count += len(piece)
    return "\n".join(lines) + "\n"
