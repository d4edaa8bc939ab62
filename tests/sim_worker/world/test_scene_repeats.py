"""The same seed gives the same scene, image and outcome: in this process, after other work, and in another process."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from grasp_client.geometry import approach_frame
from sim_worker.world import SceneSpec, World

KINDS = ["single", "pile", "packed", "bin"]


def fingerprint(world: World, kind: str, profile: str, seed: int = 5) -> str:
    scene = world.build(SceneSpec(seed=seed, kind=kind, profile=profile))
    view = scene.observe()
    digest = hashlib.sha256(scene.hash().encode())
    for image in (view.observation.depth, view.rgb, view.segmentation):
        digest.update(np.ascontiguousarray(image).tobytes())
    digest.update(repr([scene.attempt(pose, 0.08) for pose in grasps(scene)]).encode())
    return digest.hexdigest()


def grasps(scene):
    poses = []
    for placed in scene.placed[:3]:
        x, y, z = placed.position
        poses += [
            approach_frame(np.array([x, y, max(z - 0.01, 0.006)]), np.array([np.cos(a), np.sin(a), 0]), np.array([0, 0, -1.0]))
            for a in (0.0, 1.5)
        ]
    return poses


@pytest.fixture(scope="module")
def world():
    world = World()
    yield world
    world.close()


@pytest.mark.parametrize("profile", ["clean", "hard"])
@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_everything_after_other_work(world, kind, profile):
    first = fingerprint(world, kind, profile)
    other = world.build(SceneSpec(seed=6, kind="pile"))
    other.observe()
    other.attempt(grasps(other)[0], 0.08)
    assert fingerprint(world, kind, profile) == first


def test_same_seed_same_everything_in_another_process(world):
    here = [fingerprint(world, kind, "standard") for kind in KINDS]
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_scene_repeats as t; w = t.World();"
        "print('|'.join(t.fingerprint(w, k, 'standard') for k in t.KINDS))"
    )
    folder = __file__.rpartition("/")[0]
    there = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    [line] = [line for line in there.stdout.splitlines() if "|" in line]  # a library may print, too
    assert line.split("|") == here


def test_another_seed_another_scene(world):
    assert world.build(SceneSpec(seed=1)).hash() != world.build(SceneSpec(seed=2)).hash()


def test_outcomes_do_not_depend_on_the_order_of_attempts(world):
    scene = world.build(SceneSpec(seed=3, kind="pile"))
    poses = grasps(scene)
    forwards = [scene.attempt(pose, 0.08, trial=i) for i, pose in enumerate(poses)]
    backwards = [scene.attempt(poses[i], 0.08, trial=i) for i in reversed(range(len(poses)))]
    assert backwards[::-1] == forwards


def test_an_older_scene_can_be_used_again(world):
    old = world.build(SceneSpec(seed=3, kind="pile"))
    outcomes = [old.attempt(pose, 0.08, trial=0) for pose in grasps(old)]
    world.build(SceneSpec(seed=4)).observe()
    assert [old.attempt(pose, 0.08, trial=0) for pose in grasps(old)] == outcomes


def test_what_the_library_prints_stays_out_of_standard_output_though_it_is_buffered():
    code = (
        "import ctypes\nfrom sim_worker.world.simulation.physics import quiet_stdout\n"
        "c = ctypes.CDLL(None)\nc.printf(b'before\\n')\n"
        "with quiet_stdout():\n    c.printf(b'argv[0]=\\n')\nprint('after')"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=buffered)
    assert there.stdout.split() == ["before", "after"]
