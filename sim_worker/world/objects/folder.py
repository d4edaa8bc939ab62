"""A folder of the user's own objects: URDF, OBJ or STL files become graspable bodies.

A mesh keeps its size, is cut into convex parts (its own pieces if they are convex, else by V-HACD, in PyBullet), and given
mass and inertia as of a solid. What is drawn is what is touched: the parts stand for the mesh in the image too. Results are
kept on disk by content.
"""

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pybullet
import trimesh

from shared.durable import private_folder
from sim_worker.world.objects.objects import ObjectModel, UrdfModel, sides_of
from sim_worker.world.simulation.physics import quiet_stdout

MESHES, URDF = (".obj", ".stl"), ".urdf"
LONGEST = 0.5
"""m: longest side of a mesh that scenes have room for."""
MILLIMETRES_ABOVE = 2.0
"""Longest side, in the file's units, above which these are taken for millimetres instead of metres."""
DENSITY = 500.0
"""kg/m3 of a solid mesh; its mass is kept between 20 g and 1 kg."""
_VHACD = {"resolution": 400_000, "maxNumVerticesPerCH": 48, "concavity": 0.002}
_FORMAT = "2"


def folder_models(folder: Path) -> dict[str, ObjectModel]:
    """Objects by name `folder/<path without suffix>`, sorted. Raises ValueError naming the file that cannot be used."""
    if not folder.is_dir():
        raise ValueError(f"objects_dir: expected a folder with URDF, OBJ or STL files, got {str(folder)!r}")
    urdfs = sorted(path for path in folder.rglob("*") if path.suffix.lower() == URDF)
    spoken_for = {mesh for path in urdfs for mesh in _meshes_of(path)}
    models: dict[str, ObjectModel] = {}
    for path in sorted(folder.rglob("*")):
        name = f"folder/{path.relative_to(folder).with_suffix('').as_posix()}"
        if path in urdfs:
            models[name] = UrdfModel(name, path)
        elif path.suffix.lower() in MESHES and path.resolve() not in spoken_for:
            models[name] = UrdfModel(name, urdf_of_mesh(path), own_inertia=True)
    if not models:
        raise ValueError(f"objects_dir: no URDF, OBJ or STL file under {str(folder)!r}")
    return models


def measured_sides(model: ObjectModel) -> np.ndarray:
    """The sides (3,) of an object of a folder, m; of a URDF the bounding box in the simulation, some millimetres more."""
    parts = model.path.with_name("parts.obj") if isinstance(model, UrdfModel) else None
    if parts is None or not parts.exists():
        return sides_of(model)
    sides: np.ndarray = trimesh.load(parts, force="mesh").extents
    return sides


def _meshes_of(path: Path) -> set[Path]:
    """Mesh files that a single-link URDF names."""
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"objects_dir: {path} is not readable XML: {error}") from error
    links = len(root.findall("link"))
    if links != 1:
        raise ValueError(f"objects_dir: expected a rigid object of one link, {path} has {links}")
    return {(path.parent / mesh.get("filename", "").removeprefix("package://")).resolve() for mesh in root.iter("mesh")}


def urdf_of_mesh(path: Path) -> Path:
    """A URDF of the mesh, cut into convex parts; made once per content."""
    digest = hashlib.sha256(_FORMAT.encode() + path.read_bytes()).hexdigest()[:20]
    home = _cache() / digest
    urdf = home / "object.urdf"
    if urdf.exists():
        return urdf
    mesh = _loaded(path)
    home.mkdir(parents=True, exist_ok=True)
    parts = home / f"parts-{os.getpid()}.obj"
    bodies = mesh.split(only_watertight=False)
    if all(body.is_convex for body in bodies):
        parts.write_text(_grouped([body.convex_hull for body in bodies]))
    else:
        _decompose(mesh, parts)
    os.replace(parts, home / "parts.obj")
    draft = home / f"object-{os.getpid()}.urdf"
    draft.write_text(_urdf_text(mesh))
    os.replace(draft, urdf)
    return urdf


@cache
def _cache() -> Path:
    """A folder that nobody else can have prepared: this user's cache, or, where there is none, a new one of this process."""
    try:
        return private_folder(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "grasploop-objects")
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return Path(tempfile.mkdtemp(prefix="grasploop-objects-"))


def _loaded(path: Path) -> trimesh.Trimesh:
    """The mesh in metres, its centre of mass at the origin."""
    try:
        mesh = trimesh.load(path, force="mesh")
    except Exception as error:
        raise ValueError(f"objects_dir: cannot read {path}: {error}") from error
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) < 4 or not np.isfinite(mesh.vertices).all():
        raise ValueError(f"objects_dir: {path} holds no usable triangle mesh")
    if max(mesh.extents) > MILLIMETRES_ABOVE:
        mesh.apply_scale(0.001)
    if max(mesh.extents) > LONGEST:
        sides = " x ".join(f"{1000 * side:.0f}" for side in mesh.extents)
        room = f"scenes have room for {1000 * LONGEST:.0f} mm"
        raise ValueError(f"objects_dir: {path} measures {sides} mm, {room}: is its unit metres or millimetres?")
    solid = mesh if mesh.is_watertight and mesh.volume > 0 else mesh.convex_hull
    mesh.apply_translation(-solid.center_mass)
    return mesh


def _grouped(bodies: list[trimesh.Trimesh]) -> str:
    """An OBJ text with one group for each body: PyBullet makes a hull of each."""
    lines, first = [], 1
    for index, body in enumerate(bodies):
        lines.append(f"o part_{index}")
        lines += [f"v {x:.8f} {y:.8f} {z:.8f}" for x, y, z in body.vertices]
        lines += [f"f {a + first} {b + first} {c + first}" for a, b, c in body.faces]
        first += len(body.vertices)
    return "\n".join(lines) + "\n"


def _decompose(mesh: trimesh.Trimesh, target: Path) -> None:
    whole, log = target.with_suffix(".whole.obj"), target.with_suffix(".log")
    mesh.export(whole)
    with quiet_stdout():
        pybullet.vhacd(str(whole), str(target), str(log), **_VHACD)
    for scrap in (whole, log):
        scrap.unlink(missing_ok=True)
    if not target.exists() or target.stat().st_size == 0:
        raise ValueError("objects_dir: convex decomposition of the mesh gave nothing; is it a closed surface?")


def _urdf_text(mesh: trimesh.Trimesh) -> str:
    solid = mesh if mesh.is_watertight and mesh.volume > 0 else mesh.convex_hull
    mass = float(np.clip(solid.volume * DENSITY, 0.02, 1.0))
    inertia = solid.moment_inertia * (mass / solid.volume)
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = inertia
    shape = '<geometry><mesh filename="parts.obj"/></geometry>'
    return (
        '<robot name="object"><link name="object">'
        f'<inertial><mass value="{mass:.6g}"/>'
        f'<inertia ixx="{xx:.6g}" ixy="{xy:.6g}" ixz="{xz:.6g}" iyy="{yy:.6g}" iyz="{yz:.6g}" izz="{zz:.6g}"/></inertial>'
        f"<visual>{shape}</visual><collision>{shape}</collision></link></robot>\n"
    )
