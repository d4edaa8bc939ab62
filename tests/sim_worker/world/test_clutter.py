"""Scenes with a goal: enclosed, scattered, preset files; pushes in them, and the way back."""

from pathlib import Path

import numpy as np
import pytest

from grasp_client.contract import Gripper
from sim_worker.world import SceneError, SceneSpec, World
from sim_worker.world.simulation.cases import case_line, read_case, write_case
from sim_worker.world.simulation.clutter import LOWER
from sim_worker.world.simulation.spec import GOAL_WORKSPACE

DOWN = np.array([[1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0]])


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def tip(x: float, y: float, z: float) -> np.ndarray:
    """Pose of closed fingertips that look straight down, their closing axis along x."""
    pose = np.eye(4)
    pose[:3, :3] = DOWN
    pose[:3, 3] = (x, y, z)
    return pose


def tops(world: World) -> list[float]:
    state = world.simulation.state
    assert state is not None
    return [world.physics.client.getAABB(body)[1][2] for body in state.bodies]


def test_an_enclosed_goal_is_touched_by_things_that_are_no_lower(world: World) -> None:
    touched, opposite = [], []
    for seed in range(8):
        scene = world.build(SceneSpec(seed=seed, kind="enclosed", object_set="blocks"))
        again = world.build(SceneSpec(seed=seed, kind="enclosed", object_set="blocks"))
        assert scene.hash() == again.hash()
        again.observe()
        assert 3 <= len(scene.objects) <= 8
        heights = tops(world)
        assert min(heights[1:]) >= heights[0] - LOWER - 0.004
        state = world.simulation.state
        assert state is not None
        goal, *others = state.bodies
        client = world.physics.client
        near = [points[0] for other in others if (points := client.getClosestPoints(goal, other, 0.006))]
        touched.append(len(near))
        sides = [np.array(point[7][:2]) for point in near]
        opposite.append(any(a @ b < -0.9 for a in sides for b in sides))
    assert min(touched) >= 1
    assert np.mean(touched) > 1.8
    assert sum(opposite) >= 4


def test_scattered_things_lie_in_the_workspace(world: World) -> None:
    scene = world.build(SceneSpec(seed=3, kind="scattered", count=10, object_set="blocks"))
    assert len(scene.objects) >= 6
    assert all(max(abs(p.position[0]), abs(p.position[1])) < GOAL_WORKSPACE for p in scene.placed)
    view = scene.observe()
    assert set(np.unique(view.segmentation)) >= {0, 1}


def test_a_push_moves_what_is_before_the_hand_and_can_be_taken_back(world: World, one_cube: Path) -> None:
    scene = world.build(SceneSpec(seed=0, kind="case", case=one_cube, object_set="blocks"))
    before, settled = scene.snapshot(), scene.hash()
    result = scene.push(tip(-0.06, 0, 0.02), tip(0.04, 0, 0.02))
    assert result.blocked is None
    assert result.travelled == pytest.approx(0.10, abs=0.002)
    assert scene.commit() == []
    [cube] = scene.placed
    # Fingers 26 mm thick push its face up to 66 mm; let go at 0.25 m/s, it slides on for 5 mm.
    assert cube.position[0] == pytest.approx(0.04 + 0.0264 + 0.025 + 0.005, abs=0.004)
    assert scene.hash() != settled
    scene.revert(before)
    assert scene.hash() == settled
    again = scene.push(tip(-0.06, 0, 0.02), tip(0.04, 0, 0.02), trial=0)
    assert again == result
    scene.commit()
    assert scene.placed[0].position == cube.position


def test_a_push_that_comes_down_on_something_moves_nothing(world: World, one_cube: Path) -> None:
    scene = world.build(SceneSpec(seed=0, kind="case", case=one_cube, object_set="blocks"))
    result = scene.push(tip(0.0, 0, 0.02), tip(0.1, 0, 0.02))
    assert result.blocked == "block/4"
    before = scene.placed[0].position
    scene.commit()
    np.testing.assert_allclose(scene.placed[0].position, before, atol=1e-4)
    assert scene.push(tip(-0.1, 0, -0.01), tip(0.1, 0, -0.01)).blocked == "table"


def test_a_push_needs_two_equally_turned_poses(world: World, one_cube: Path) -> None:
    scene = world.build(SceneSpec(seed=0, kind="case", case=one_cube, object_set="blocks"))
    turned = tip(0.1, 0, 0.02)
    turned[:3, :3] = np.diag([-1.0, 1.0, -1.0])
    with pytest.raises(SceneError, match="equally turned"):
        scene.push(tip(-0.1, 0, 0.02), turned)


def test_what_rolls_within_sight_stays(world: World, tmp_path: Path) -> None:
    """A rolling goal was dropped as lost before it had stopped."""
    path = tmp_path / "cylinder.txt"
    # Lying: its axis along y, which is the mesh's own z in the file's frame turned about x.
    path.write_text("8.obj 1 0 0 -0.5 -0.1 0.0234 0 0 0\n")
    scene = world.build(SceneSpec(seed=0, kind="case", case=path, object_set="blocks"))
    assert scene.objects == ("block/8",)
    state = scene.stage(Gripper())
    [body] = state.bodies
    world.physics.client.resetBaseVelocity(body, [0.0, 0.05, 0.0], [0, 0, 0])
    assert scene.commit() == []
    assert scene.objects == ("block/8",)


def test_a_preset_file_survives_being_written_and_read(world: World, tmp_path: Path) -> None:
    scene = world.build(SceneSpec(seed=5, kind="enclosed", object_set="blocks"))
    path = tmp_path / "case.txt"
    write_case(path, [case_line(world.physics, placed) for placed in scene.placed])
    replayed = world.build(SceneSpec(seed=5, kind="case", case=path, object_set="blocks"))
    assert replayed.objects == scene.objects
    for first, second in zip(scene.placed, replayed.placed, strict=True):
        np.testing.assert_allclose(first.position, second.position, atol=0.001)
        assert abs(np.dot(first.orientation, second.orientation)) > 0.9999


def test_a_preset_line_means_what_published_files_mean(tmp_path: Path) -> None:
    path = tmp_path / "case.txt"
    path.write_text(
        "3.obj 0.1 0.2 0.3 -0.4 -0.2 0.0135 0 0 0\n\n"
        "6.obj 1 1 1 -0.5 -0.1 0.051 0 0 1.5707963\n"
        "4.obj 1 1 1 -0.5 -0.1 -726.0 0 0 0\n"
        "4.obj 1 1 1 -0.5 0.2 0.026 0 0 0\n"
    )
    plank, brick, fallen, outside = read_case(path)
    np.testing.assert_allclose(plank.position, [0.1, -0.1, 0.0125])
    assert plank.colour == (0.1, 0.2, 0.3)
    np.testing.assert_allclose(plank.turn.apply([0, 0, 1]), [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(brick.turn.apply([0, 0, 1]), [0, 0, 1], atol=1e-9)
    assert [line.usable for line in (plank, brick, fallen, outside)] == [True, True, False, False]


@pytest.mark.parametrize(
    "text", ["5.obj 1 1 1 0 0 0 0 0 0", "4.obj 1 1 1 0 0 0 0 0", "4.obj 1 1 1 0 0 a 0 0 0", "4.obj nan 1 1 0 0 0 0 0 0"]
)
def test_a_line_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "case.txt"
    path.write_text(f"4.obj 1 1 1 -0.5 -0.1 0.026 0 0 0\n{text}\n")
    with pytest.raises(SceneError, match="line 2: expected `mesh r g b"):
        read_case(path)


def test_a_scene_of_other_objects_is_no_preset_file(world: World) -> None:
    scene = world.build(SceneSpec(seed=1, kind="single", objects=("box/40x40x40",)))
    with pytest.raises(SceneError, match="blocks alone"):
        case_line(world.physics, scene.placed[0])


def test_a_case_needs_its_file() -> None:
    with pytest.raises(ValueError, match="preset file"):
        SceneSpec(seed=1, kind="case")


@pytest.fixture
def one_cube(tmp_path: Path) -> Path:
    """A cube in the middle of the workspace."""
    path = tmp_path / "one-cube.txt"
    path.write_text("4.obj 1 0 0 -0.5 -0.1 0.026 0 0 0\n")
    return path
