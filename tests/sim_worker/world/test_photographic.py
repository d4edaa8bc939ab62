"""Looks of colour pictures: seeded, apart for judging, and with the shapes and outcomes of plain ones."""

from dataclasses import replace

import numpy as np
import pytest

from sim_worker.world import SceneSpec, World
from sim_worker.world.camera.photographic import HELD_OUT, PATTERNS, Photographic
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
