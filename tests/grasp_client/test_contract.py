import pytest
from pydantic import ValidationError

from grasp_client.contract import Grasp, GraspMeta, Gripper, PlanRequest, problems_of

IDENTITY = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
FLOOR = [[0.2, 0.1, 0], [-0.2, 0.1, 0], [-0.2, -0.1, 0], [0.2, -0.1, 0]]
TOTE = {"corners": FLOOR, "wall_height": 0.1}


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
        ({"bin": "a tote"}, "valid boolean"),
        ({"bin": {"corners": FLOOR}}, "wall_height"),
        ({"bin": TOTE}, "corners in the base frame need `camera_pose`"),
        ({"bin": {**TOTE, "corners": FLOOR[:3]}, "camera_pose": IDENTITY}, "at least 4"),
        ({"bin": {**TOTE, "corners": [FLOOR[0], FLOOR[2], FLOOR[1], FLOOR[3]]}, "camera_pose": IDENTITY}, "in order round"),
        ({"bin": {**TOTE, "corners": [[300 * x for x in each] for each in FLOOR]}, "camera_pose": IDENTITY}, "in metres"),
        ({"bin": {**TOTE, "corners": [*FLOOR[:3], [0.2, -0.1, 0.1]]}, "camera_pose": IDENTITY}, "miss it by 0.1 m"),
        ({"bin": {**TOTE, "corners": [[x + 2 * y, y, z] for x, y, z in FLOOR]}, "camera_pose": IDENTITY}, "an angle of"),
        ({"bin": {**TOTE, "wall_height": 0}, "camera_pose": IDENTITY}, "greater than or equal to 0.005"),
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


@pytest.mark.parametrize("corners", [FLOOR, FLOOR[::-1], [[x, 0.9 * y, 0.2 * x] for x, y, _ in FLOOR]])
def test_a_bin_may_lean_and_its_corners_go_either_way_round(corners):
    told = PlanRequest.model_validate({"bin": {**TOTE, "corners": corners}, "camera_pose": IDENTITY}).bin
    assert told.corners == corners
    assert [PlanRequest.model_validate({"bin": each}).bin for each in (True, False, None)] == [True, False, None]


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


def test_of_a_number_out_of_bounds_it_is_said_what_came_and_of_nothing_else() -> None:
    wrong = {"camera": {"fx": -5, "fy": 525, "cx": 0, "cy": 0}, "n_grasps": "secret", "gripper": "none such"}
    with pytest.raises(ValidationError) as refused:
        PlanRequest.model_validate(wrong)
    told = {problem["loc"][0]: problem["msg"] for problem in problems_of(refused.value)}
    assert told["camera"] == "Input should be greater than or equal to 0.5, got -5"
    assert "secret" not in told["n_grasps"]
    assert ", got" not in told["gripper"]
