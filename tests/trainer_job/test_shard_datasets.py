import numpy as np
import pytest
from block_world import CAMERA, block_outcome
from records import store

from grasp_client.contract import ImageSpec
from grasp_client.geometry import approach_frame
from shared.networks.mobileunet import MobileUNet
from trainer_job.data import shard_images
from trainer_job.data.feature_cache import FeatureCache
from trainer_job.data.outcome_index import OutcomeIndex, is_held_out, scene_key
from trainer_job.data.replay_buffer import ReplayBuffer
from trainer_job.tasks import task_of
from trainer_job.tasks.gqcnn import crops_of
from trainer_job.training.recipe import load

VIEW = {"focal_px": 120.0, "near": 0.5, "far": 0.7}


def coloured(episode):
    """The block in red, with the same attempt recorded."""
    outcome = block_outcome(episode)
    depth = outcome.images["depth"]
    rgb = np.full((*depth.shape, 3), 200, np.uint8)
    rgb[depth < 0.6] = (255, 0, 0)
    outcome.images["rgb"] = rgb
    outcome.meta.images["rgb"] = ImageSpec(shape=list(rgb.shape), dtype="uint8")
    return outcome


@pytest.fixture
def shards(tmp_path):
    outcomes = [coloured(episode) for episode in range(60)]
    outcomes.append(block_outcome(99, contact_rule="allowed"))
    outcomes.append(block_outcome(98, success=False, failure="unreachable"))
    store(tmp_path / "shards", outcomes)
    return tmp_path / "shards", outcomes[:60]


SMALL = {
    "conv1": {"type": "conv", "filt_dim": 5, "num_filt": 4, "pool_size": 2, "pool_stride": 2, "pad": "VALID"},
    "fc2": {"type": "fc", "out_size": 8},
    "fc3": {"type": "fc", "out_size": 2},
}


def crops(kind="parallel_jaw", **view):
    """The task of a small network on crops of 16 pixels."""
    parameters = {"architecture": {"im_stream": SMALL}, "depth_mode": "im_depth_sub", "crop_size": 16}
    changes = {"kind": kind, "parameters": parameters, "view": VIEW | view}
    return task_of(load("gqcnn4-jaw-shards").model_copy(update=changes))


def read(task, folder, cache):
    """All crops (N, 16, 16) with depth and lean, m and rad, labels, and the records behind them, in stored order."""
    library = ReplayBuffer(OutcomeIndex(folder), FeatureCache(cache, task))
    library.refresh()
    batch = library.examples(np.arange(len(library))).batch(np.arange(len(library)))
    return crops_of(batch), batch.aux.numpy(), batch.labels.numpy() > 0, library.records


def test_crops_are_centred_on_the_executed_grasps(shards, tmp_path):
    folder, outcomes = shards
    images, poses, labels, _ = read(crops(), folder, tmp_path / "cache")
    assert images.shape == (60, 16, 16)
    assert labels.tolist() == [outcome.meta.success for outcome in outcomes]
    for image, (depth, _), outcome in zip(images, poses, outcomes, strict=True):
        u, v = (round(value) for value in outcome.meta.grasp.center_px)
        assert np.allclose(image, outcome.images["depth"][v - 8 : v + 8, u - 8 : u + 8], atol=2e-4)
        assert depth == pytest.approx(outcome.meta.grasp.depth)


def test_a_recipe_on_shards_holds_out_whole_scenes_and_says_what_it_refused(shards, tmp_path):
    folder, outcomes = shards
    data = crops().read([folder], [], tmp_path / "cache", 1000)
    held = sum(is_held_out(scene_key(outcome.meta, str)) for outcome in outcomes)
    assert (len(data.training), len(data.held_out)) == (60 - held, held)
    assert data.outcomes["refused"] == {"contact_rule": 1, "unreachable": 1}


def test_crops_of_cups_lie_along_their_lean(tmp_path):
    leaning = np.array([0.0, 0.3, 0.954])
    outcome = block_outcome(1)
    grasp = outcome.meta.grasp
    pose = approach_frame(np.asarray(grasp.pose_camera)[:3, 3], np.array([1.0, 0, 0]), leaning)
    outcome.meta.grasp = grasp.model_copy(update={"kind": "suction", "width": None, "pose_camera": pose.tolist()})
    store(tmp_path / "cups", [outcome])
    images, poses, _, _ = read(crops("suction"), tmp_path / "cups", tmp_path / "cache")
    assert poses[:, 1] == pytest.approx([np.arctan2(0.3, 0.954)], abs=1e-3)
    u, v = (round(value) for value in grasp.center_px)
    upright = outcome.images["depth"][v - 8 : v + 9, u - 8 : u + 9]
    # The approach leans along +v, which lies along the rows of the crop.
    assert np.allclose(images[0], np.rot90(upright)[:16, :16], atol=2e-4)


def test_another_camera_is_brought_to_the_view_of_the_network(shards, tmp_path):
    folder, outcomes = shards
    images, poses, _, _ = read(crops(focal_px=2 * CAMERA.fx, near=0.3, far=0.35), folder, tmp_path / "cache")
    assert poses[:, 0] == pytest.approx(0.35)
    depth = outcomes[0].meta.grasp.depth
    middle = outcomes[0].images["depth"][tuple(round(x) for x in outcomes[0].meta.grasp.center_px[::-1])]
    assert images[0, 8, 8] == pytest.approx(middle - depth + 0.35, abs=1e-3)


def network(**options):
    return MobileUNet(**{"rotations": 2, "angles": [np.pi / 2, 0.0], "image_size": 48} | options)


def pictures(folder, scale=None):
    task = task_of(load("mobileunet").model_copy(update={"parameters": {"rotations": 2, "image_size": 48}}))
    return shard_images.read([folder], task.refusal, network(), scale)


def test_pictures_hold_the_tried_place_and_its_outcome(shards):
    folder, outcomes = shards
    training, held_out = pictures(folder)
    assert len(training.which) + len(held_out.which) == 60
    assert training.images.shape[1:] == (48, 48, 3)
    assert set(training.maps) == {1}
    assert training.success.sum() + held_out.success.sum() == sum(outcome.meta.success for outcome in outcomes)
    for which, (row, column), success in zip(training.which, training.places, training.success, strict=True):
        if success:  # the tried pixel lies on the red block
            assert training.images[which, round(row), round(column), 1] < 150
    assert len(np.unique(training.places, axis=0)) > 10


def test_pictures_come_at_the_scale_that_the_recipe_asks_for(tmp_path):
    """A camera 0.7 m above the table with half the pixels per metre asked for: the picture is twice as large."""
    outcomes = [coloured(episode) for episode in range(40)]
    pose = np.diag([1.0, -1, -1, 1])
    pose[2, 3] = 0.7
    for outcome in outcomes:
        outcome.meta.camera_pose = pose.tolist()
    store(tmp_path / "shards", outcomes)
    training, _ = pictures(tmp_path / "shards", 2 * CAMERA.fx / 0.7)
    rows, columns = outcomes[0].images["rgb"].shape[:2]
    assert training.images.shape[1:3] == (2 * rows, 2 * columns)
    again, _ = pictures(tmp_path / "shards")
    assert again.images.shape[1:3] == (48, 48)
    np.testing.assert_allclose(training.places + 0.5, (again.places + 0.5) * 2 * rows / 48, rtol=1e-4)


def test_a_network_with_tip_heights_learns_only_from_what_it_can_propose():
    meta = block_outcome(0).meta
    flat = meta.grasp.model_copy(
        update={"angle": 0.2, "width": meta.gripper.max_width, "pose_base": np.diag([1.0, -1, -1, 1]).tolist()}
    )

    def of(height, **changes):
        pose = np.diag([1.0, -1, -1, 1])
        pose[2, 3] = height
        grasp = flat.model_copy(update={"pose_base": pose.tolist()} | changes)
        return shard_images.map_of(meta.model_copy(update={"grasp": grasp}), sixteen)

    sixteen = network(rotations=16, angles=None, tip_heights=[0.01, 0.035, 0.06])
    assert of(0.01) == 1
    assert of(0.037) == 17
    assert of(0.06, angle=-np.pi / 16) == 32 + 15
    assert of(0.02) is None
    assert of(0.01, width=0.05) is None
    assert of(0.01, pose_base=None) is None
    leaning = np.eye(4)
    leaning[:3, :3] = [[1, 0, 0], [0, -np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), -np.cos(0.2)]]
    leaning[2, 3] = 0.01
    assert of(0.01, pose_base=leaning.tolist()) is None


def test_nothing_to_use_is_explained(tmp_path):
    store(tmp_path / "shards", [block_outcome(0)])
    with pytest.raises(ValueError, match="colour images"):
        pictures(tmp_path / "shards")
    with pytest.raises(ValueError, match=r"no outcomes to learn from in .*refused: \{'gripper': 1\}"):
        crops("suction").read([tmp_path / "shards"], [], tmp_path / "cache", 1000)
