"""Sensor noise: right in size, holes where sensors have them, zero for no reading, and repeatable."""

import numpy as np
import pytest

from sim_worker.world.camera.sensor import sense


def step_scene():
    """A box 8 cm high on a table 0.7 m away, seen straight down; pixels on the box."""
    depth = np.full((240, 240), 0.70, np.float32)
    box = np.zeros(depth.shape, bool)
    box[90:150, 100:140] = True
    depth[box] = 0.62
    return depth, box


def test_no_noise_is_the_truth():
    depth, _ = step_scene()
    assert sense(depth, "none", np.random.default_rng(0), 420) is depth


@pytest.mark.parametrize(("sensor", "deviation"), [("realsense", 0.003), ("structured_light", 0.0015)])
def test_noise_is_small_on_flat_surfaces_and_holes_read_zero(sensor, deviation):
    depth, _ = step_scene()
    seen = sense(depth, sensor, np.random.default_rng(1), 420)
    assert seen.dtype == np.float32
    assert np.isfinite(seen).all()
    corner = seen[30:80, 30:80]
    error = (corner - 0.70)[corner > 0]
    assert 1e-4 < error.std() < deviation
    assert abs(error.mean()) < 0.0015
    assert (seen == 0).any()


@pytest.mark.parametrize("sensor", ["realsense", "structured_light"])
def test_same_stream_same_noise(sensor):
    depth, _ = step_scene()
    first, again, other = (sense(depth, sensor, np.random.default_rng(seed), 420) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_structured_light_misses_about_a_third_and_mostly_not_the_objects():
    depth, box = step_scene()
    missing = [sense(depth, "structured_light", np.random.default_rng(seed), 420) == 0 for seed in range(30)]
    assert 0.25 < np.mean(missing) < 0.42
    assert np.mean([holes[box].mean() for holes in missing]) < 0.25


def test_structured_light_casts_a_shadow_on_one_side():
    depth, _ = step_scene()
    seen = np.mean([sense(depth, "structured_light", np.random.default_rng(seed), 420) == 0 for seed in range(40)], axis=0)
    beside, before = seen[100:140, 93:98].mean(), seen[100:140, 160:200].mean()
    assert 0.3 < beside < 0.8
    assert before < 0.2


def test_pixels_without_truth_stay_empty():
    depth, _ = step_scene()
    depth[:40] = 0
    for sensor in ("realsense", "structured_light"):
        assert (sense(depth, sensor, np.random.default_rng(0), 420)[:38] == 0).all()
