"""Every number of the contract has bounds: what no hand, camera or clock can mean is refused where it enters."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import examples
from pydantic import BaseModel, ValidationError

from grasp_client.contract import GraspMeta, OutcomeReport, PlanRequest, PushMeta, SceneRequest

POSE = [[1.0, 0.0, 0.0, 0.1], [0.0, 1.0, 0.0, 0.2], [0.0, 0.0, 1.0, 0.6], [0.0, 0.0, 0.0, 1.0]]
GRIPPER = {
    "max_width": 0.08, "min_width": 0.01, "finger_width": 0.02, "finger_thickness": 0.01, "finger_depth": 0.05,
    "palm_width": 0.2, "palm_thickness": 0.06, "cup_radius": 0.01, "tcp_offset": 0.009,
}  # fmt: skip
CAMERA = {"fx": 500.0, "fy": 500.0, "cx": 319.5, "cy": 239.5}
GRASP = {
    "kind": "parallel_jaw",
    "quality": 0.5, "center_px": [9.0, 9.0], "angle": 0.1, "depth": 0.6, "width": 0.05, "width_px": 40.0,
    "pose_camera": POSE, "pose_base": POSE, "pregrasp_camera": POSE, "pregrasp_base": POSE,
}  # fmt: skip
SCENE = {"seed": 3, "nonce": "ab", "objects": ["block"]}
ATTEMPT = {
    "camera": CAMERA, "camera_pose": POSE, "model": {"name": "dense", "version": 3}, "probability": 0.5, "scene": SCENE,
    "duration": 2.0, "details": {"force": 3.5, "count": 4}, "gripper": GRIPPER, "time": 1.75e9, "planner": "dense",
}  # fmt: skip
IMAGES = {"depth": {"shape": [4, 4], "dtype": "uint16", "scale": 1e-4}}
PUSH = {
    "start_base": POSE,
    "end_base": POSE,
    "length": 0.1,
    "start_px": [1.0, 2.0],
    "end_px": [3.0, 4.0],
    "predicted_quality": 0.5,
}
TRIED = {**ATTEMPT, "grasp": GRASP, "rank": 2, "quality": 0.5, "success": True}
FAILED = {"center_px": [1.0, 2.0], "angle": 0.1, "depth": 0.5, "pose_camera": POSE, "quality": 0.5}
WHOLE: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (OutcomeReport, TRIED),
    (GraspMeta, {**TRIED, "images": IMAGES}),
    (
        PushMeta,
        {**ATTEMPT, "images": IMAGES, "push": PUSH, "quality_before": 0.1, "quality_after": 0.2, "moved": 0.05},
    ),
    (SceneRequest, {"id": "t", "seed": 3, "model_version": 2, "exploration": 0.1, "attempts": 3}),
    (
        PlanRequest,
        {
            "camera": CAMERA, "camera_pose": POSE, "table_depth": 0.7, "depth_scale": 0.001, "gripper": GRIPPER, "n_grasps": 5,
            "min_quality": 0.1, "region": [0.0, 0.0, 9.0, 9.0], "model_version": 2, "failed": [FAILED], "seed": 3,
            "bin": {"corners": [[0.2, 0.1, 0.0], [-0.2, 0.1, 0.0], [-0.2, -0.1, 0.0], [0.2, -0.1, 0.0]], "wall_height": 0.1},
        },
    ),
]  # fmt: skip
TOO_LARGE = [1e300, -1e300, 3e38, 10**30, -(10**30), 10**400, float("nan"), float("inf"), float("-inf")]


def numbers_in(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths of the numbers in nested lists and dicts."""
    if isinstance(value, bool) or not isinstance(value, (int, float, list, dict)):
        return []
    if isinstance(value, (int, float)):
        return [path]
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [found for key, item in items for found in numbers_in(item, (*path, key))]


def changed(whole: dict[str, Any], path: tuple, value: Any) -> dict[str, Any]:
    result: Any = copy.deepcopy(whole)
    place = result
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return result


CASES = [pytest.param(model, whole, path, id=f"{model.__name__}.{'.'.join(map(str, path))}")
         for model, whole in WHOLE for path in numbers_in(whole)]  # fmt: skip


@pytest.mark.parametrize(("model", "whole", "path"), CASES)
def test_no_number_is_without_bounds(model: type[BaseModel], whole: dict[str, Any], path: tuple) -> None:
    model.model_validate(whole)
    for value in TOO_LARGE:
        with pytest.raises(ValidationError):
            model.model_validate(changed(whole, path, value))
    with pytest.raises(ValidationError):  # the same as it comes over the wire
        model.model_validate_json(json.dumps(changed(whole, path, 10**400)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("camera", "fx"), 5e-324), (("gripper", "cup_radius"), 5e-324), (("scene", "seed"), -1), (("scene", "seed"), 2**63),
        (("rank",), -1), (("time",), -1.0), (("grasp", "pose_camera"), [[0.0] * 4] * 4), (("grasp", "pose_camera"), [[1.0]]),
        (("grasp", "pose_base", 0, 3), 101.0), (("source",), "x" * 129), (("group",), "x" * 129),
        (("scene", "nonce"), "x" * 65), (("served",), True),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_is_refused(path: tuple, value: Any) -> None:
    with pytest.raises(ValidationError):
        OutcomeReport.model_validate(changed(TRIED, path, value))


ANY_NUMBER = st.one_of(st.floats(), st.integers(), st.floats(-1e3, 1e3))


@examples(200)
@given(case=st.sampled_from([(model, whole, path) for model, whole in WHOLE for path in numbers_in(whole)]), value=ANY_NUMBER)
def test_whatever_is_accepted_is_written_and_read_again(case: tuple, value: float) -> None:
    model, whole, path = case
    try:
        accepted = model.model_validate(changed(whole, path, value))
    except ValidationError:
        return
    assert model.model_validate_json(accepted.model_dump_json()) == accepted
