import math

import numpy as np
import pytest
import torch
from gqcnn_scenes import BLOCK_CAMERA, CPU, SMALL, block, loaded, phoxi
from published import published

from grasp_client.contract import Gripper, PlanRequest
from grasp_client.geometry import look_at
from planning.base import PlannerError
from planning.batched_inference import run_batched
from planning.gqcnn.crop_scorer import CropScorer, ImageGrasps, to_image, to_map
from planning.gqcnn.edge_sampler import antipodal_pairs
from planning.gqcnn.fc_jaw import FCGQCNNPlanner
from planning.gqcnn.gaussian_mixture import Mixture
from planning.gqcnn.jaw import GQCNNPlanner
from planning.networks.loading import load_network
from planning.scene.projection import project_jaw
from planning.scene.scene import observe_scene
from shared.features.crops import fill_holes
from shared.grasp_poses import HandPose
from shared.registry import Registry
from trainer_job.import_weights import main as import_weights

HAND = Gripper(finger_width=0.02, finger_thickness=0.01, finger_depth=0.06)


@pytest.fixture(scope="module")
def published_network(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    assert import_weights([str(published("formats/gqcnn-4.0-pj")), "--models-dir", str(folder)]) == 0
    return load_network(Registry(folder), "gqcnn-jaw", 1, None, CPU)


def qualities(observation, camera, network, grasps, turn):
    """The network's quality of planned grasps, turned in place."""
    scorer = CropScorer(observe_scene(observation, PlanRequest(camera=camera), CPU), network)
    with torch.inference_mode():
        asked = ImageGrasps(
            torch.tensor([grasp.center_px for grasp in grasps]),
            torch.tensor([grasp.angle + turn for grasp in grasps]),
            torch.tensor([grasp.depth for grasp in grasps]),
        )
        [(logits, _)] = run_batched([scorer(asked)])
    return torch.sigmoid(logits).numpy()


@pytest.mark.parametrize("number", [0, 1, 2])
def test_published_network_likes_antipodal_grasps_of_real_scenes_and_not_their_quarter_turns(number, published_network):
    observation, camera = phoxi(number)
    request = PlanRequest(camera=camera, gripper=HAND, seed=1)
    [plan] = GQCNNPlanner().plan_batch([(observation, request)], published_network)
    assert plan.model is not None
    assert (plan.model.name, plan.model.version) == ("gqcnn-jaw", 1)
    assert 0.4 <= plan.grasps[0].quality <= 0.95
    best = plan.grasps[:3]
    # The reply's pixel, angle and depth are where the network gave the quality.
    again = qualities(observation, camera, published_network, best, 0.0)
    assert again == pytest.approx([grasp.quality for grasp in best], abs=0.01)
    assert qualities(observation, camera, published_network, best[:1], math.pi / 2) < 0.02


def test_fully_convolutional_planner_finds_as_good_a_grasp_on_a_real_scene(published_network):
    observation, camera = phoxi(1)
    region = [200.0, 120.0, 320.0, 240.0]
    request = PlanRequest(camera=camera, gripper=HAND, region=region)
    [plan] = FCGQCNNPlanner().plan_batch([(observation, request)], published_network)
    assert plan.grasps[0].quality >= 0.4
    assert all(region[0] <= g.center_px[0] <= region[2] and region[1] <= g.center_px[1] <= region[3] for g in plan.grasps)
    assert qualities(observation, camera, published_network, plan.grasps[:1], math.pi / 2) < 0.05


def test_block_is_closed_across_its_short_side(published_network):
    [plan] = GQCNNPlanner().plan_batch([(block(), PlanRequest(camera=BLOCK_CAMERA, seed=3))], published_network)
    grasp = plan.grasps[0]
    assert abs(grasp.angle) < math.radians(35)
    assert abs(grasp.center_px[0] - 159.5) < 3
    assert 0.033 <= grasp.width <= 0.08
    assert grasp.pose_camera[2][3] == pytest.approx(grasp.depth)


def test_the_network_of_dexnet_5_can_rank():
    network = loaded("gqcnn", view={"focal_px": 175.0, "near": 0.6, "far": 0.8})
    [plan] = GQCNNPlanner().plan_batch([(block(), PlanRequest(camera=BLOCK_CAMERA, seed=0, n_grasps=3))], network)
    assert plan.grasps
    assert [grasp.quality for grasp in plan.grasps] == sorted((g.quality for g in plan.grasps), reverse=True)


def test_the_same_seed_gives_the_same_answer():
    network = loaded("gqcnn4", SMALL)
    plans = [
        GQCNNPlanner().plan_batch([(block(), PlanRequest(camera=BLOCK_CAMERA, seed=seed))], network)[0].grasps
        for seed in (5, 5, 6)
    ]
    assert plans[0] == plans[1]
    assert plans[0] != plans[2]


def test_nothing_on_the_table_gives_no_grasp_and_says_why():
    flat = block()
    observation = type(flat)(depth=np.full_like(flat.depth, 0.7))
    for planner in (GQCNNPlanner(), FCGQCNNPlanner()):
        [plan] = planner.plan_batch([(observation, PlanRequest(camera=BLOCK_CAMERA, seed=0))], loaded("gqcnn4"))
        assert plan.grasps == []
        assert plan.rejections or not isinstance(planner, GQCNNPlanner)


def test_networks_that_cannot_serve_are_explained():
    item = (block(), PlanRequest(camera=BLOCK_CAMERA))
    with pytest.raises(PlannerError, match="does not say how its crops saw the world"):
        GQCNNPlanner().plan_batch([item], loaded("gqcnn4", view=None))
    with pytest.raises(PlannerError, match="no fully convolutional form"):
        FCGQCNNPlanner().plan_batch([item], loaded("efficientnet"))
    with pytest.raises(PlannerError, match="no version"):
        GQCNNPlanner().plan_batch([item], None)


@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_map_and_image_agree(tilt):
    pose = look_at(np.array([0.7 * math.sin(tilt), 0.0, 0.7 * math.cos(tilt)]), np.zeros(3), np.array([0.0, 1.0, 0.0]))
    request = PlanRequest(camera=BLOCK_CAMERA, camera_pose=pose.tolist())
    scene = observe_scene(block(), request, CPU)
    hands = hands_at(torch.tensor([[0.02, 0.03, 0.04, 0.3], [-0.05, 0.01, 0.02, -1.2], [0.01, 0.0, 0.02, 2.5]]))
    grasps = to_image(scene, hands)
    x, y, angle, tip = to_map(scene, grasps)
    assert torch.allclose(torch.stack([x, y, tip], 1), torch.stack([hands.x, hands.y, hands.tip], 1), atol=1e-5)
    assert ((grasps.angles > -math.pi / 2) & (grasps.angles <= math.pi / 2)).all()
    turned = torch.sin(angle - hands.angle).abs()  # half a turn is the same jaw
    assert (turned < (0.05 if tilt else 1e-3)).all()  # level hands are foreshortened by the tilt
    placed = project_jaw(scene, request.gripper, hands)
    assert torch.allclose(placed.pixel.float(), grasps.centers, atol=1e-2)
    assert torch.allclose(torch.sin(placed.angle.float() - grasps.angles), torch.zeros(3), atol=1e-4)
    assert torch.allclose(placed.pose[:, 2, 3].float(), grasps.depth, atol=1e-6)


def hands_at(table):
    x, y, tip, angle = table.T
    return HandPose.straight_down(x, y, tip, angle, torch.full_like(x, 0.04))


def test_depth_edges_are_paired_across_the_block():
    depth = fill_holes(block().depth)
    rng = np.random.default_rng(0)
    middles, angles = antipodal_pairs(depth, depth > 0, 300.0, 0.08, 50, rng)
    assert len(middles) == 50
    assert np.abs(np.sin(angles)).max() < 0.75  # within the friction cone of the long sides
    assert np.abs(middles[:, 0] - 159.5).max() < 3
    nowhere, _ = antipodal_pairs(depth, np.zeros_like(depth, bool), 300.0, 0.08, 50, rng)
    assert len(nowhere) == 0


def test_mixture_finds_two_clusters():
    generator = torch.Generator().manual_seed(0)
    points = torch.cat([torch.randn(40, 2, generator=generator) * 0.1 + shift for shift in (-1.0, 2.0)])
    mixture = Mixture(points, 4, torch.full((2,), 0.01), generator)
    drawn = mixture.sample(500, generator)
    near = torch.minimum((drawn + 1).norm(dim=1), (drawn - 2).norm(dim=1))
    assert near.max() < 0.8
    assert 0.3 < (drawn[:, 0] > 0.5).float().mean() < 0.7
