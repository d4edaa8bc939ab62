import numpy as np
import pytest
from this_process import one_worker_here

from grasp_client.contract import CameraIntrinsics
from shared.maps.open_hand import AROUND
from shared.rgb_windows import ARRAYS, CELL, TriedGrasp, parts, read
from shared.table_grasp import ROTATIONS, TIP_HEIGHTS
from sim_worker.collect import rgb_windows
from sim_worker.collect.rgb_windows import RgbWindowSettings, main
from sim_worker.collect.window_capture import (
    ABOVE_TABLE,
    SIDE,
    WindowRecipe,
    beside_a_thing,
    camera_over,
    capture_windows,
    fits_of,
    heights_of,
)
from sim_worker.command_line import settings_of
from sim_worker.world import SceneSpec, World


def window_of(scene, rng):
    """A view of a window about some thing, and its nadir."""
    camera, nadir = camera_over(beside_a_thing(scene, rng), rng)
    return scene.observe_with(camera), nadir


@pytest.fixture(scope="module")
def world():
    return World()


@pytest.fixture(scope="module")
def scene(world):
    return world.build(SceneSpec(seed=3, kind="single", profile="standard"))


def settings(folder, **changes):
    return RgbWindowSettings.model_validate(
        {
            "windows": 8,
            "out": folder,
            "seed": 4,
            "windows_per_scene": 2,
            "scenes_per_part": 2,
            "clutter_ratio": 0.5,
            "grasps_per_window": 2,
            **changes,
        }
    )


def test_a_look_shows_the_object_about_its_middle_wherever_it_stands(scene):
    rng = np.random.default_rng(0)
    for _ in range(10):
        view, nadir = window_of(scene, rng)
        v, u = np.nonzero(heights_of(view) > 0)
        assert view.rgb.shape == (SIDE, SIDE, 3)
        assert abs(np.median(u) - SIDE / 2) < 36
        assert abs(np.median(v) - SIDE / 2) < 36
        assert np.abs(nadir).max() < 200


def test_heights_are_those_of_the_world(scene):
    """The highest pixel is the top of the object, seen at the nadir or from the side alike."""
    rng = np.random.default_rng(1)
    tops = [int(heights_of(window_of(scene, rng)[0]).max()) for _ in range(6)]
    exact = scene.observe()
    depth, pose = exact.exact_depth, exact.true_camera_pose
    top = 1e3 * (pose[2, 3] - depth[exact.segmentation > 0].min())
    assert np.abs(np.array(tops) - top).max() <= 3


def test_a_camera_that_leans_in_its_profile_looks_straight_down_here(world):
    leaning = world.build(SceneSpec(seed=5, kind="single", profile="hard"))
    assert leaning.conditions.tilt > 0.05
    view, _ = window_of(leaning, np.random.default_rng(0))
    assert view.camera_pose[2, 2] == -1


def test_the_nadir_is_the_pixel_that_looks_straight_down(scene):
    view, nadir = window_of(scene, np.random.default_rng(2))
    down = view.camera_pose[:3, :3].T @ [0.0, 0.0, -1.0]
    seen = np.array([view.camera.fx, view.camera.fy]) * down[:2] / down[2] + [view.camera.cx, view.camera.cy]
    np.testing.assert_allclose(nadir, seen, atol=1e-6)


def test_the_table_has_no_height(scene):
    heights = heights_of(window_of(scene, np.random.default_rng(3))[0])
    assert (heights == 0).any()
    assert heights[heights > 0].min() >= round(1e3 * ABOVE_TABLE)


def test_a_hand_fits_across_a_bar_and_not_along_it_as_deep_as_its_palm_allows():
    camera = CameraIntrinsics(fx=420.0, fy=420.0, cx=55.5, cy=55.5)  # straight above the middle
    for top, height in ((30, 0.004), (75, 0.035), (100, 0.060)):
        heights = np.zeros((SIDE, SIDE), np.uint8)
        heights[46:66, 20:92] = top  # along u
        answers = fits_of(heights, camera).reshape(-1, ROTATIONS, SIDE // CELL, SIDE // CELL)
        middle = answers[:, :, SIDE // CELL // 2, SIDE // CELL // 2]
        level = TIP_HEIGHTS.index(height)
        assert middle[level, ROTATIONS // 2] == AROUND
        assert not middle[:, 0].any()
        assert not middle[:level].any()


def test_equal_seeds_give_equal_looks(world, tmp_path):
    once, again, other = (capture_windows(world, settings(tmp_path).recipe(), number) for number in (1, 1, 2))
    assert len(once) == 4
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(once, name), getattr(again, name))
    assert not np.array_equal(once.colours, other.colours)


def test_every_photographic_window_looks_anew(world, tmp_path):
    changes = {"windows_per_scene": 8, "scenes_per_part": 1, "clutter_ratio": 0.0}
    plain, painted = (
        capture_windows(world, settings(tmp_path, looks=[looks], **changes).recipe(), 0) for looks in ("plain", "photographic")
    )

    def spread(windows):  # of the table's colour from window to window
        table = [colours[heights == 0].mean(0) for colours, heights in zip(windows.colours, windows.heights, strict=True)]
        return float(np.std(table, 0).mean())

    assert spread(painted) > 4 * spread(plain)


def test_pictures_of_a_window_share_its_truth(world, tmp_path):
    windows = capture_windows(world, settings(tmp_path, looks=["plain", "photographic", "photographic"]).recipe(), 0)
    assert len(windows) == 12
    for first in range(0, 12, 3):
        for name in set(ARRAYS) - {"colours"}:
            each = getattr(windows, name)[first : first + 3]
            np.testing.assert_array_equal(each, each[:1].repeat(3, 0))
    assert not any(np.array_equal(windows.colours[first], windows.colours[first + 1]) for first in range(11))


def test_windows_elsewhere_show_flat_prints_on_which_nothing_holds(world, tmp_path):
    how = {"windows_per_scene": 16, "scenes_per_part": 1, "clutter_ratio": 0.0}
    asked = settings(tmp_path, elsewhere=1.0, looks=["photographic"], **how)
    windows = capture_windows(world, asked.recipe(), 0)
    bare = (windows.heights == 0).all((1, 2))
    assert bare.sum() >= 6
    assert (windows.tried[bare, :, TriedGrasp.HELD] == 0).all()
    middle = windows.colours[:, SIDE // 2 - 4 : SIDE // 2 + 4, SIDE // 2 - 4 : SIDE // 2 + 4].astype(float).mean((1, 2))
    rim = windows.colours[:, :8].astype(float).mean((1, 2))
    assert (np.abs(middle - rim).max(1)[bare] > 12).mean() > 0.5


def test_a_folder_that_names_one_look_goes_on(tmp_path):
    recipe = settings(tmp_path).recipe()
    assert WindowRecipe.model_validate({**recipe.model_dump(), "looks": "plain"}) == recipe


@pytest.mark.slow
def test_an_interrupted_run_goes_on(tmp_path):
    asked, whole = tmp_path / "asked", tmp_path / "whole"
    assert main(settings(asked, windows=4)) == 0
    assert main(settings(whole)) == 0
    assert main(settings(asked, workers=2)) == 0
    assert list(parts(asked)) == list(parts(whole)) == [0, 1]
    for one, other in zip(parts(asked).values(), parts(whole).values(), strict=True):
        np.testing.assert_array_equal(read(one).colours, read(other).colours)


def test_windows_of_other_options_are_not_mixed(tmp_path, capsys, monkeypatch):
    one_worker_here(monkeypatch, rgb_windows, "_cell")
    small = {"windows": 1, "windows_per_scene": 1, "scenes_per_part": 1}
    assert main(settings(tmp_path, **small)) == 0
    assert main(settings(tmp_path, **small, seed=5)) == 2
    assert "seed: 4 there, 5 asked" in capsys.readouterr().err


def test_options_that_do_not_go_together_are_told(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["rgb_windows", "--out", "somewhere", "--grasps-per-window", "2", "--on-policy", "3"])
    with pytest.raises(SystemExit) as ended:
        settings_of(RgbWindowSettings)
    assert ended.value.code == 2
    assert "on_policy is 3 of 2 grasps_per_window" in capsys.readouterr().err
