"""The blocks of published work, and convex hulls as objects."""

import numpy as np
import pybullet
import pytest

from sim_worker.world.objects.blocks import BLOCKS, HullModel, block_model
from sim_worker.world.objects.catalogue import OBJECT_SETS, draw_names, model_named
from sim_worker.world.objects.objects import PartsModel, prepare
from sim_worker.world.simulation.fixtures import fixed_box
from sim_worker.world.simulation.physics import Physics

SIZES = {
    "block/0": (0.0933, 0.05, 0.049),
    "block/1": (0.10, 0.05, 0.05),
    "block/2": (0.05, 0.05, 0.025),
    "block/3": (0.10, 0.05, 0.025),
    "block/4": (0.05, 0.05, 0.05),
    "block/6": (0.05, 0.05, 0.10),
    "block/7": (0.05, 0.05, 0.025),
    "block/8": (0.0448, 0.0448, 0.05),
}
MARGIN = 0.002
"""m that Bullet's boxes lie outside a hull, on each side."""


def test_every_block_has_its_published_size_and_rests_as_it_is_modelled() -> None:
    assert sorted(SIZES) == sorted(BLOCKS)
    for name, size in SIZES.items():
        physics = Physics()
        fixed_box(physics, (1.0, 1.0, 0.05), (0, 0, -0.05), drawn=False)
        model = block_model(name)
        body = model.spawn(physics, (0, 0, 0), (0, 0, 0, 1))
        low, high = np.array(physics.client.getAABB(body))
        np.testing.assert_allclose(high - low - 2 * MARGIN * (model.skin > 0), size, atol=1e-4, err_msg=name)
        prepare(physics, body, model, 0.1, None)
        physics.client.resetBasePositionAndOrientation(body, [0, 0, 0.001 - low[2]], [0, 0, 0, 1])
        assert physics.settle([body], 2.0), name
        turn = physics.client.getBasePositionAndOrientation(body)[1]
        assert abs(turn[3]) > 0.999, f"{name} toppled"
        physics.close()


def test_the_arch_is_a_block_with_a_half_round_hole() -> None:
    arch = BLOCKS["block/1"]
    assert isinstance(arch, PartsModel)
    low, high = (np.array([np.add(p.position, sign * np.array(p.size) / 2) for p in arch.parts]) for sign in (-1, 1))
    assert low.min(axis=0) == pytest.approx([-0.05, -0.025, 0.0])
    assert high.max(axis=0) == pytest.approx([0.05, 0.025, 0.05])
    assert min(min(part.size) for part in arch.parts) > 0
    assert sum(part.volume for part in arch.parts) == pytest.approx(0.05 * (0.1 * 0.05 - np.pi * 0.025**2 / 2), rel=0.02)
    np.testing.assert_allclose(low[2:, 2], low[2:, 2][::-1], atol=1e-12)
    assert low[2:, 2].argmax() in (3, 4)


def test_a_hull_has_its_centre_of_mass_and_volume_and_is_drawn_closed() -> None:
    prism = BLOCKS["block/0"]
    assert isinstance(prism, HullModel)
    np.testing.assert_allclose(prism.centre, [0, 0, 0.049 / 3], atol=1e-9)
    assert prism.mass == pytest.approx(400 * 0.0933 * 0.049 / 2 * 0.05)
    half_as_large = prism.scaled(0.5)
    assert half_as_large.mass == pytest.approx(prism.mass)
    np.testing.assert_allclose(half_as_large.centre, prism.centre / 2, atol=1e-12)
    physics = Physics()
    body = prism.spawn(physics, (0, 0, 0), (0, 0, 0, 1))
    view = physics.client.computeViewMatrix([0, 0, 0.5], [0, 0, 0], [0, 1, 0])
    frustum = physics.client.computeProjectionMatrixFOV(30, 1, 0.05, 3)
    bodies = physics.client.getCameraImage(64, 64, view, frustum, renderer=pybullet.ER_TINY_RENDERER)[4]
    drawn = np.reshape(bodies, (64, 64)) == body
    # From above a prism is a rectangle, but for its ridge, which is nearer: no face is missing, none is turned inside out.
    middle = drawn[:, np.nonzero(drawn.all(axis=0) | (drawn.sum(axis=0) > 10))[0]]
    assert middle.shape[1] > 18
    assert np.ptp(middle.sum(axis=0)) <= 4
    physics.close()


def test_blocks_and_clutter_are_object_sets() -> None:
    assert {"blocks", "clutter"} <= set(OBJECT_SETS)
    random = np.random.default_rng(0)
    assert set(draw_names("blocks", 200, random)) == set(BLOCKS)
    kinds = [name.partition("/")[0] for name in draw_names("clutter", 400, random)]
    assert 0.5 < kinds.count("block") / 400 < 0.7
    assert 0.18 < kinds.count("procedural") / 400 < 0.32
    assert model_named("block/7").name == "block/7"
    with pytest.raises(ValueError, match="block/0"):
        model_named("block/5")
