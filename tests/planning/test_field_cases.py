"""Inputs that fell short elsewhere, as people sent them: each is answered rightly, or told."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from grasp_client.cli.camera_files import read_camera
from grasp_client.contract import GraspPlan, PlanRequest
from grasp_client.imaging import ImageError, check_observation, decode_depth, decode_rgb, decode_segmask
from grasp_client.observation import Observation
from planning.local import local_planner

CASES = Path(os.environ.get("GRASP_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"no cases in {CASES}")


def folder(number: str) -> Path:
    return next(CASES.glob(f"{number}_*"))


def planned(number: str, planner: str = "dense") -> GraspPlan:
    """The answer to a case. Raises what the server turns into 422."""
    files = {path.stem: path.read_bytes() for path in folder(number).iterdir()}
    request = PlanRequest.model_validate_json(files["request"])
    mask = decode_segmask(files["segmask"]) if "segmask" in files else None
    rgb = decode_rgb(files["rgb"]) if "rgb" in files else None
    depth = decode_depth(files["depth"], depth_scale=request.depth_scale) if "depth" in files else None
    observation = Observation(depth, rgb, segmask=mask)
    check_observation(observation, request.region)
    return local_planner(planner).plan(observation, request)


def told(plan: GraspPlan) -> set[str]:
    return {text.partition(":")[0] for text in plan.warnings}


def test_a_thing_far_from_the_middle_is_found_where_the_region_says():
    best = planned("01").grasps[0]
    assert best.pose_base is not None
    assert math.dist(np.array(best.pose_base)[:2, 3], (0.9, 0.0)) < 0.06


def test_a_steep_table_without_pose_is_told_and_its_thing_found():
    plan = planned("03")
    assert "steep_table" in told(plan)
    assert all(grasp.center_px[0] > 130 for grasp in plan.grasps)


def test_a_pose_in_millimetres_is_refused():
    with pytest.raises(ValidationError, match="metres"):
        planned("05")


def test_removed_background_is_told():
    assert "background_removed" in told(planned("07"))


def test_a_mask_of_fractions_counts_from_one_half():
    plan = planned("09")
    likely = np.load(folder("09") / "segmask.npy") > 0.5
    assert plan.grasps
    assert all(likely[round(v), round(u)] for u, v in (grasp.center_px for grasp in plan.grasps))


def test_an_inverted_pose_is_told():
    assert "gravity" in told(planned("13"))


def test_a_depth_buffer_is_told():
    plan = planned("15")
    assert "no_distances" in told(plan)
    assert not plan.grasps


def test_distortion_is_read_and_undone():
    camera = read_camera(str(folder("17") / "camera_info.json"))
    assert camera.distortion == json.loads((folder("17") / "camera_info.json").read_text())["D"]


@pytest.mark.parametrize("name", ["realsense", "open3d", "bop"])
def test_intrinsics_of_other_programs_are_read(name):
    camera = read_camera(str(folder("19") / f"{name}.json"))
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (615, 615, 319.5, 239.5)


def test_a_steep_real_table_without_pose_is_told():
    assert "steep_table" in told(planned("21"))


def test_a_wide_hand_is_sure_of_a_wide_box():
    assert planned("11", "antipodal").grasps[0].quality >= 0.9


def test_a_toy_is_found_in_a_photograph_by_colour_alone():
    u, v = planned("23", "heatmap").grasps[0].center_px
    rgb = decode_rgb((folder("23") / "rgb.png").read_bytes())[round(v) - 2 : round(v) + 3, round(u) - 2 : round(u) + 3]
    assert (rgb.max(2).astype(int) - rgb.min(2)).mean() > 50  # box and walls are grey


def test_negative_depth_is_refused_by_its_cause():
    with pytest.raises(ImageError, match="send -depth"):
        planned("25")
