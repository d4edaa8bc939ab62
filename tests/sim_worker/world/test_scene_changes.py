"""Scenes of every kind are settled and in sight, and stay consistent when objects are taken out."""

import numpy as np
import pytest

from grasp_client.geometry import approach_frame, invert, project, transform
from sim_worker.world import CameraSpec, SceneError, SceneSpec, World
from sim_worker.world.simulation import placement
from sim_worker.world.simulation.bins import BIN_INNER, HEIGHT, THICKNESS


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


CROWDS = [pytest.param(kind, 30, marks=pytest.mark.slow) for kind in ("packed", "pile", "bin")]


@pytest.mark.parametrize(
    ("kind", "count"), [("single", 1), ("packed", 5), ("pile", 5), ("pile", 15), ("bin", 8), ("bin", 15), *CROWDS]
)
def test_all_objects_lie_on_the_table_and_in_sight(world, kind, count):
    scene = world.build(SceneSpec(seed=11, kind=kind, count=count, object_set="test", bin_size=BIN_INNER))
    assert len(scene.objects) == len(set(scene.objects)) == count
    view = scene.observe()
    assert set(np.unique(view.segmentation)) <= set(range(len(scene.objects) + 1))
    assert view.objects == scene.objects
    for placed in scene.placed:
        assert (np.abs(placed.position[:2]) < scene.spec.workspace).all()
        assert placed.position[2] > 0
    rows, columns = project(transform(invert(view.camera_pose), [p.position for p in scene.placed]), view.camera).T[::-1]
    assert ((rows > 0) & (rows < view.segmentation.shape[0])).all()
    assert ((columns > 0) & (columns < view.segmentation.shape[1])).all()


def test_what_never_comes_to_rest_is_replaced_by_another_object(world, monkeypatch):
    first = world.build(SceneSpec(seed=3, kind="pile", count=4, object_set="procedural"))
    restless, usual = first.objects[0], placement.settled

    def settled(physics, objects, within):
        return [placed for placed in usual(physics, objects, within) if placed.name != restless]

    monkeypatch.setattr(placement, "settled", settled)
    scene = world.build(SceneSpec(seed=3, kind="pile", count=4, object_set="procedural"))
    assert restless not in scene.objects
    assert len(set(scene.objects)) == 4
    assert set(first.objects) - {restless} <= set(scene.objects)


def test_named_objects_are_never_replaced(world, monkeypatch):
    usual, names = placement.settled, ("procedural/box-1", "procedural/bar-2", "procedural/box-3")
    monkeypatch.setattr(placement, "settled", lambda *args: [p for p in usual(*args) if p.name != names[2]])
    scene = world.build(SceneSpec(seed=3, kind="pile", objects=names))
    assert set(scene.objects) == set(names[:2])


def test_camera_and_workspace_follow_the_size_of_bin_and_crowd():
    usual, few = SceneSpec(seed=0, kind="pile"), SceneSpec(seed=0, kind="pile", count=12)
    assert usual.camera == few.camera == CameraSpec()
    assert usual.workspace == few.workspace
    crowd, tote = SceneSpec(seed=0, kind="pile", count=30), SceneSpec(seed=0, kind="bin", bin_size=(0.56, 0.36, 0.1))
    assert crowd.camera.width == crowd.camera.height > 1.5 * usual.camera.width
    assert tote.workspace == (0.28, 0.18)
    for spec in (crowd, tote):
        seen = np.array([spec.camera.width, spec.camera.height]) / spec.camera.focal * spec.camera.distance / 2
        assert (seen > 1.25 * np.array(spec.workspace)).all()
    assert SceneSpec(seed=0, kind="bin", camera=CameraSpec(width=100)).camera.width == 100


@pytest.mark.parametrize("kind", ["single", "pile", "packed", "bin"])
def test_nothing_sinks_explodes_or_drifts_in_two_seconds(world, kind):
    """Penetration under 1.5 mm, and no motion to speak of, two seconds after the scene was called settled."""
    scene = world.build(SceneSpec(seed=21, kind=kind, object_set="random"))
    scene.observe()
    physics, bodies = world.physics, list(world.simulation.state.bodies)
    for body in bodies:
        physics.client.changeDynamics(body, -1, activationState=2)
    physics.step(physics.steps_in(2.0))
    depth = min((point[8] for body in bodies for point in physics.client.getContactPoints(body)), default=0.0)
    assert depth > -0.0015
    for body, placed in zip(bodies, scene.placed, strict=True):
        now = physics.client.getBasePositionAndOrientation(body)[0]
        assert np.linalg.norm(np.subtract(now, placed.position)) < 0.004
    world.simulation.state.moved = True


def test_bin_has_walls_that_are_seen_and_felt(world):
    scene = world.build(SceneSpec(seed=4, kind="bin", bin_size=(0.28, 0.26, 0.12)))
    over_wall = approach_frame(np.array([0.145, 0, 0.05]), np.array([0, 1.0, 0]), np.array([0, 0, -1.0]))
    result = scene.attempt(over_wall, 0.05)
    assert (result.failure, result.object_name) == ("collision", "bin")
    depth = scene.observe().observation.depth
    assert abs(depth[depth.shape[0] // 2, 210:].min() - (0.70 - 0.12)) < 1e-3


def test_bins_without_a_size_are_drawn_and_objects_lie_at_their_walls_and_in_corners(world):
    sizes, gaps = [], []
    for seed in range(12):
        scene = world.build(SceneSpec(seed=seed, kind="bin", count=6, object_set="procedural"))
        tote = scene.spec.bin
        assert tote == SceneSpec(seed=seed, kind="bin", profile="hard").bin, "of the seed alone"
        assert scene.conditions.tilt == tote.tilt
        assert THICKNESS[0] <= tote.wall <= THICKNESS[1]
        assert HEIGHT[0] <= tote.inner[2] <= HEIGHT[1]
        sizes.append((*tote.inner, *tote.centre, tote.yaw, tote.wall, tote.tilt, tote.view))
        for placed in scene.placed:
            assert tote.holds(np.array(placed.position[:2]), 1.0)
            assert scene.spec.holds(*placed.position[:2])
            reach = np.array(tote.half) - np.abs((np.array(placed.position[:2]) - tote.centre) @ tote._turn())
            gaps.append(sorted(reach))
    assert (np.ptp(np.array(sizes), axis=0) > 0).all()
    nearest, other = np.transpose(gaps)
    assert (nearest < 0.04).sum() >= 6, "the middle of an object that stands at a wall"
    assert (other < 0.06).any(), "in a corner"


def test_walls_stand_where_the_spec_says(world):
    scene = world.build(SceneSpec(seed=3, kind="bin", count=3))
    tote, view = scene.spec.bin, scene.observe_with(CameraSpec(width=700, height=700, distance=0.9))
    (x, y), height = tote.half, tote.inner[2]
    rim = tote.in_base(np.array([(x + tote.wall / 2, 0), (-x - tote.wall / 2, 0), (0, y + tote.wall / 2)]))
    points = np.column_stack([rim, np.full(3, height)])
    seen = transform(invert(view.true_camera_pose), points)
    u, v = np.round(project(seen, view.camera)).astype(int).T
    np.testing.assert_allclose(view.exact_depth[v, u], seen[:, 2], atol=2e-3)


def test_removing_an_object_leaves_the_others(world):
    scene = world.build(SceneSpec(seed=5, kind="pile"))
    names, before = scene.objects, scene.observe()
    lost = scene.remove(names[0])
    assert set(scene.objects) == set(names[1:]) - set(lost)
    assert scene.observe() is not before
    assert scene.observe().objects == scene.objects
    with pytest.raises(SceneError, match="no object"):
        scene.remove(names[0])


def test_keep_takes_over_what_an_attempt_moved(world):
    scene = world.build(SceneSpec(seed=5, kind="pile"))
    hashes = [scene.hash()]
    x, y, z = scene.placed[0].position
    pose = approach_frame(np.array([x, y, max(z, 0.02)]), np.array([1.0, 0, 0]), np.array([0, 0, -1.0]))
    scene.attempt(pose, 0.08, contact_rule="allowed")
    hashes.append(scene.hash())
    scene.commit()
    hashes.append(scene.hash())
    assert hashes[0] == hashes[1] != hashes[2]


def test_observation_is_cached_until_the_scene_changes(world):
    scene = world.build(SceneSpec(seed=6))
    assert scene.observe() is scene.observe()


def test_clearing_all_objects_leaves_an_empty_table(world):
    scene = world.build(SceneSpec(seed=7, kind="packed", count=3))
    while scene.objects:
        scene.remove(scene.objects[0])
    view = scene.observe()
    assert (view.segmentation == 0).all()
    assert np.allclose(view.observation.depth, 0.70, atol=1e-3)


def test_conditions_are_drawn_from_the_profile(world):
    hard = [world.build(SceneSpec(seed=seed, profile="hard")).conditions for seed in range(6)]
    assert all(0.3 <= drawn.friction <= 0.6 and 10 <= drawn.grip_force <= 20 and drawn.tilt <= 0.35 for drawn in hard)
    assert len({drawn.friction for drawn in hard}) == 6
    assert all(isinstance(value, float | str) for value in hard[0].flat().values())
