"""Looks of colour pictures: seeded, apart for judging, and with the shapes and outcomes of plain ones."""

import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from sim_worker.world import SceneSpec, World
from sim_worker.world.camera.photographic import HELD_OUT, PATTERNS, Photographic
from sim_worker.world.camera.textures import PERIODS, SIDE, check_looks, read_textures
from sim_worker.world.simulation.spec import CameraSpec

SMALL = CameraSpec(width=96, height=96, focal=170)


@pytest.fixture(scope="module")
def world():
    return World()


def seen(world, looks, seed=3):
    return world.build(SceneSpec(seed=seed, object_set="procedural", profile="standard", looks=looks, camera=SMALL)).observe()


@pytest.mark.parametrize("looks", ["photographic", "held-out"])
def test_looks_change_colours_alone_and_come_again_from_the_seed(world, looks):
    plain, first, again = seen(world, "plain"), seen(world, looks), seen(world, looks)
    assert np.array_equal(plain.observation.depth, first.observation.depth)
    assert np.array_equal(plain.segmentation, first.segmentation)
    assert np.array_equal(first.rgb, again.rgb)
    assert first.rgb.shape == plain.rgb.shape
    assert first.rgb.dtype == np.uint8
    assert np.abs(first.rgb.astype(int) - plain.rgb).mean() > 5


def test_what_judges_is_not_learned_from():
    assert not set(PATTERNS) & set(HELD_OUT)
    kinds = {"photographic": set(PATTERNS.values()), "held-out": set(HELD_OUT.values())}
    for looks, patterns in kinds.items():
        drawn = [Photographic.draw(looks, np.random.default_rng(seed)) for seed in range(20)]
        assert {each.table.pattern for each in drawn} <= patterns
        assert len({each.table.pattern for each in drawn}) > 1


@pytest.mark.parametrize("pattern", [*PATTERNS.values(), *HELD_OUT.values()], ids=[*PATTERNS, *HELD_OUT])
def test_patterns_lie_between_their_two_colours(pattern):
    x, y = np.random.default_rng(0).uniform(-20, 20, (2, 500))
    share = pattern(x, y)
    assert share.shape == (500,)
    assert share.min() >= 0
    assert share.max() <= 1 + 1e-6
    assert share.std() > 0.05


def test_shadows_fall_away_from_the_light():
    drawn = Photographic.draw("photographic", np.random.default_rng(0))
    assert drawn is not None
    look = replace(drawn, lights=np.array([[-0.8, 0.0, 1.0, 0.5]]))
    points = np.stack(np.meshgrid(np.linspace(-0.1, 0.1, 60), np.linspace(-0.1, 0.1, 60), [0.0]), -1)[:, :, 0]
    things = np.zeros((60, 60), bool)
    things[28:32, 28:32] = True
    points[things, 2] = 0.05
    light = look._lit(points, ~things, things)
    assert light[29, 38] < 0.7
    assert light[29, 20] == pytest.approx(1, abs=0.02)


def pictures(folder, count=3):
    for number in range(count):
        picture = np.random.default_rng(number).integers(0, 256, (40, 60), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), cv2.resize(picture, (480, 320), interpolation=cv2.INTER_CUBIC))
    return folder


def test_a_picture_is_a_pattern_of_its_brightness(tmp_path):
    stripes = np.repeat(np.array([[30, 200] * 50], np.uint8), 100, 0)
    cv2.imwrite(str(tmp_path / "stripes.png"), cv2.resize(stripes, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST))
    (tmp_path / "notes.txt").write_text("no picture")
    (pattern,) = read_textures(tmp_path)
    x = np.linspace(-9, 9, 2000)
    share = pattern(x, np.full(2000, 0.3))
    assert set(np.unique(share)) == {0, 1}
    np.testing.assert_array_equal(share, pattern(x + PERIODS, np.full(2000, -0.7)))


def test_a_folder_without_pictures_is_told(tmp_path):
    with pytest.raises(ValueError, match=re.escape("python -m services.textures")):
        read_textures(tmp_path)


def test_pictures_are_patterns_of_some_scenes_and_never_of_those_that_judge(tmp_path):
    textures = read_textures(pictures(tmp_path))
    drawn = {
        looks: {Photographic.draw(looks, np.random.default_rng(seed), textures).table.pattern for seed in range(40)}
        for looks in ("photographic", "held-out")
    }
    assert drawn["photographic"] & set(textures)
    assert drawn["photographic"] & set(PATTERNS.values())
    assert not drawn["held-out"] & set(textures)


def test_pictures_change_colours_alone(world, tmp_path):
    textured, seeds = World(textures=read_textures(pictures(tmp_path))), range(4)
    bare = [seen(world, "photographic", seed) for seed in seeds]
    with_pictures = [seen(textured, "photographic", seed) for seed in seeds]
    for one, other in zip(bare, with_pictures, strict=True):
        np.testing.assert_array_equal(one.observation.depth, other.observation.depth)
    assert any(not np.array_equal(one.rgb, other.rgb) for one, other in zip(bare, with_pictures, strict=True))
    textured.close()


@pytest.mark.parametrize("looks", ["plain", "held-out"])
def test_pictures_that_nothing_would_show_are_refused(looks, tmp_path):
    with pytest.raises(ValueError, match=f"got looks {looks}:"):
        check_looks([looks], tmp_path)
