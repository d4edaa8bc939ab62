"""A folder of the user's own files: meshes keep their size, are cut into convex parts, weighed; URDFs are taken as they are."""

import numpy as np
import pytest
import trimesh

from sim_worker.world import SceneSpec, World
from sim_worker.world.objects.folder import _cache, folder_models, measured_sides, urdf_of_mesh
from sim_worker.world.objects.objects import UrdfModel
from sim_worker.world.simulation.physics import Physics


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _cache.cache_clear()
    home = tmp_path / "objects"
    home.mkdir()
    trimesh.creation.box((0.03, 0.05, 0.04)).export(home / "brick.stl")
    elbow = trimesh.util.concatenate(
        [
            trimesh.creation.box((80, 20, 20)),
            trimesh.creation.box((20, 80, 20), transform=trimesh.transformations.translation_matrix((-30, 50, 0))),
        ]
    )
    elbow.export(home / "elbow.obj")
    trimesh.creation.box((0.09, 0.12, 0.16)).export(home / "huge.obj")
    (home / "own.urdf").write_text(
        '<robot name="own"><link name="own"><inertial><mass value="0.2"/>'
        '<inertia ixx="1e-4" ixy="0" ixz="0" iyy="1e-4" iyz="0" izz="1e-4"/></inertial>'
        '<visual><geometry><mesh filename="brick.stl"/></geometry></visual><collision><geometry>'
        '<box size="0.03 0.05 0.04"/></geometry></collision></link></robot>'
    )
    return home


def extents(model):
    return np.sort(trimesh.load(model.path.parent / "parts.obj", force="mesh").extents)


def test_every_file_becomes_one_object(folder):
    assert sorted(folder_models(folder)) == ["folder/elbow", "folder/huge", "folder/own"]


def test_what_is_kept_lies_where_nobody_else_can_prepare_it(folder, tmp_path):
    kept = urdf_of_mesh(folder / "elbow.obj")
    assert kept.is_relative_to(tmp_path / "cache" / "grasploop-objects")
    assert (tmp_path / "cache" / "grasploop-objects").stat().st_mode & 0o777 == 0o700
    (tmp_path / "cache" / "grasploop-objects").chmod(0o777)  # somebody else may have been there
    _cache.cache_clear()
    other = urdf_of_mesh(folder / "elbow.obj")
    assert not other.is_relative_to(tmp_path / "cache")
    assert other.parents[1].stat().st_mode & 0o777 == 0o700


def test_meshes_keep_their_size_in_metres_or_millimetres(folder):
    models = folder_models(folder)
    assert np.allclose(extents(models["folder/elbow"]), [0.02, 0.08, 0.10], atol=1e-4)
    assert np.allclose(extents(models["folder/huge"]), [0.09, 0.12, 0.16], atol=1e-4)
    assert np.allclose(np.sort(measured_sides(models["folder/huge"])), [0.09, 0.12, 0.16], atol=1e-4)


def test_a_mesh_that_no_scene_has_room_for_is_refused_with_its_size(tmp_path):
    trimesh.creation.icosphere(radius=0.3).export(tmp_path / "ball.obj")
    with pytest.raises(ValueError, match=r"ball\.obj measures 600 x 600 x 600 mm"):
        folder_models(tmp_path)


def test_curved_hollow_meshes_are_decomposed(folder):
    trimesh.creation.annulus(0.02, 0.03, 0.02).export(folder / "ring.stl")
    ring = folder_models(folder)["folder/ring"]
    assert isinstance(ring, UrdfModel)
    assert ring.path.with_name("parts.obj").read_text().count("o ") >= 4
    assert np.allclose(extents(ring), [0.02, 0.06, 0.06], atol=0.003)


def test_mass_inertia_and_hollow_survive(folder):
    physics = Physics()
    body = folder_models(folder)["folder/elbow"].spawn(physics, (0, 0, 0), (0, 0, 0, 1))
    mass, _, inertia, _, turn = physics.client.getDynamicsInfo(body, -1)[:5]
    physics.client.resetBasePositionAndOrientation(body, [0, 0, 0], turn)
    corner = (0.02, 0.02)
    ray = physics.client.rayTest([*corner, 1], [*corner, -1])[0]
    physics.close()
    assert np.isclose(mass, 6.4e-5 * 500, rtol=0.8)
    assert all(0 < moment < 1e-3 for moment in inertia)
    assert ray[0] == -1, "the inner corner of the L must be empty"


def test_scene_of_a_folder_is_repeatable(folder):
    world, spec = World(), SceneSpec(seed=1, kind="pile", object_set="folder", objects_dir=folder, count=3)
    first, again = world.build(spec).hash(), world.build(spec).hash()
    world.close()
    assert first == again


def test_unusable_folders_say_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="expected a folder"):
        folder_models(tmp_path / "none")
    with pytest.raises(ValueError, match="no URDF, OBJ or STL"):
        folder_models(tmp_path)
    (tmp_path / "bad.obj").write_text("v 0 0 0\n")
    with pytest.raises(ValueError, match=r"bad\.obj"):
        folder_models(tmp_path)
