import pytest
from pydantic import ValidationError

from grasp_client.contract import Grasp, GraspMeta, Gripper, PlanRequest

IDENTITY = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_every_option_has_a_default():
    request = PlanRequest()
    assert (request.planner, request.n_grasps, request.depth_scale, request.min_quality) == ("auto", 10, 0.001, 0)
    assert (request.gripper.kind, request.gripper.max_width, request.gripper.tcp_offset) == ("parallel_jaw", 0.08, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gripers": {}}, "Extra inputs"),
        ({"camera": {"fx": 0, "fy": 1, "cx": 0, "cy": 0}}, "greater than or equal to 0.5"),
        ({"camera": {"fx": float("nan"), "fy": 1, "cx": 0, "cy": 0}}, "finite"),
        ({"camera_pose": [[1, 0], [0, 1]]}, "at least 4"),
        ({"camera_pose": [[2, 0, 0, 0], *IDENTITY[1:]]}, "rigid pose"),
        ({"camera_pose": [[-1, 0, 0, 0], *IDENTITY[1:]]}, "right-handed"),
        ({"camera_pose": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1, 2, 3, 1]]}, "transposed"),
        ({"n_grasps": 1001}, "less than or equal to 1000"),
        ({"min_quality": 1.5}, "less than or equal to 1"),
        ({"region": [10, 0, 5, 5]}, "u0 < u1"),
        ({"gripper": {"max_width": 2.0}}, "less than or equal to 0.5"),
        ({"gripper": {"min_width": 0.09}}, "min_width < max_width"),
        ({"gripper": {"kind": "magnet"}}, "parallel_jaw"),
        ({"failed": [{"center_px": [1, 2, 3]}]}, "at most 2"),
        ({"failed": [{"center_px": [1, float("inf")]}]}, "finite"),
        ({"failed": [{"center_px": [1, 1e9]}]}, "less than or equal to 1000000"),
        ({"failed": [{"center_px": [1, 2], "depth": 0}]}, "greater than or equal to 0.001"),
        ({"failed": [{"center_px": [1, 2], "width": 0.05}]}, "Extra inputs"),
        ({"failed": [{"center_px": [1, 2]}] * 65}, "at most 64"),
    ],
)
def test_wrong_options_are_refused_with_what_was_expected(options, message):
    with pytest.raises(ValidationError, match=message):
        PlanRequest.model_validate(options)


def test_a_failed_grasp_may_lie_outside_the_image_and_lack_what_the_reply_lacked():
    bare, whole = {"center_px": [-40, 1e5]}, {"center_px": [3, 4], "angle": 1.5, "depth": 0.7, "quality": 0.9}
    sent = [bare, {**bare, "angle": None, "depth": None, "quality": None}, whole]
    assert PlanRequest.model_validate({"failed": sent}).failed[2].angle == 1.5


def test_an_outcome_is_a_success_or_names_its_failure():
    grasp = Grasp(kind="suction", quality=1, center_px=[0, 0], angle=0)
    assert GraspMeta(grasp=grasp, planner="p", success=False, failure="slipped").failure == "slipped"
    with pytest.raises(ValidationError, match="names its failure"):
        GraspMeta(grasp=grasp, planner="p", success=False)
    with pytest.raises(ValidationError, match="carries no failure"):
        GraspMeta(grasp=grasp, planner="p", success=True, failure="missed")


def test_a_gripper_is_the_panda_hand_by_default():
    hand = Gripper()
    assert hand.max_width + 2 * hand.finger_thickness <= hand.palm_width
