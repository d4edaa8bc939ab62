"""Object sets keep what is learned from apart from what is judged on, and every object of them can be simulated."""

import numpy as np
import pytest

from sim_worker.world import SceneSpec, World
from sim_worker.world.objects.catalogue import MODELLED, draw_names, model_named
from sim_worker.world.objects.household import household_names
from sim_worker.world.objects.procedural import SHAPES
from sim_worker.world.simulation.physics import Physics


def drawn(object_set, count=3000):
    return set(draw_names(object_set, count, np.random.default_rng(0)))


def test_sets_share_no_object():
    train, validation, test = drawn("train"), drawn("validation"), drawn("test")
    assert not train & validation
    assert not (train | validation) & test
    assert not {name.partition("/")[0] for name in train | validation | test} - {"random", "procedural"}


def test_the_household_is_large_and_apart():
    household, curved = drawn("household"), drawn("curved")
    assert set(household_names()) < household
    assert len(household) >= 39
    assert curved < household
    assert {name.split("/")[1].split("-")[0] for name in curved} == {"bulb", "can", "lemon"}


@pytest.mark.parametrize("object_set", ["train", "validation", "random"])
def test_the_last_hundred_shapes_are_never_learned_from(object_set):
    numbers = {int(name[7:]) for name in drawn(object_set, 20_000) if name.startswith("random/")}
    assert len(numbers) > 80
    assert max(numbers) < 900


def test_test_shapes_are_the_last_hundred_and_broken_ones_are_never_drawn():
    numbers = {int(name[7:]) for name in drawn("test") if name.startswith("random/")}
    assert numbers
    assert min(numbers) >= 900
    assert {int(name[7:]) for name in drawn("random", 20_000)} & {168, 295} == set()


@pytest.mark.parametrize("name", [*(f"household/{name}" for name in MODELLED), *household_names()])
def test_household_objects_fit_a_hand_and_weigh_something(name):
    physics = Physics()
    assert model_named(name) == model_named(name)
    body = model_named(name).spawn(physics, (0, 0, 0), (0, 0, 0, 1))
    low, high = (np.array(corner) for corner in physics.client.getAABB(body))
    extents = np.sort(high - low)
    physics.close()
    assert extents[0] < 0.078
    assert 0.02 < extents[2] < 0.20


@pytest.mark.parametrize("shape", list(SHAPES))
def test_procedural_objects_come_from_their_name_alone_and_settle(shape):
    name = f"procedural/{shape}-7"
    assert model_named(name) == model_named(name)
    assert model_named(name) != model_named(f"procedural/{shape}-8")
    world = World()
    scene = world.build(SceneSpec(seed=2, objects=(name,)))
    seen = (scene.observe().segmentation == 1).sum()
    world.close()
    assert scene.objects == (name,)
    assert seen > 100


@pytest.mark.parametrize(
    "name", ["random/168", "random/1000", "household/tree", "procedural/star-1", "procedural/box-x", "what"]
)
def test_unknown_objects_are_refused_by_name(name):
    with pytest.raises(ValueError, match=r"unknown object|expected procedural"):
        model_named(name)


def test_unknown_set_names_the_known_ones():
    with pytest.raises(ValueError, match="validation"):
        draw_names("tset", 1, np.random.default_rng(0))


def test_a_named_box_set_down_upright_keeps_its_height():
    world = World()
    scene = world.build(SceneSpec(seed=3, objects=("box/70x110x40",), upright=True))
    [placed] = scene.placed
    turn = np.array(scene.physics.client.getMatrixFromQuaternion(placed.orientation)).reshape(3, 3)
    assert abs(placed.position[2] - 0.020) < 0.001
    assert turn[2, 2] > 0.999
    assert abs(turn[0, 1]) > 0.01
    world.close()


@pytest.mark.parametrize("name", ["box/70x110", "box/70x110x400", "box/0x1x1", "box/70xax40"])
def test_boxes_of_other_sizes_are_refused(name):
    with pytest.raises(ValueError, match=r"box/<x>x<y>x<z>|could not convert"):
        model_named(name)
