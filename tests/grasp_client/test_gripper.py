"""Hands by name and by size, and what their sizes mean."""

import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from grasp_client.contract import PRESETS, Gripper, PlanRequest
from grasp_client.endpoints import plan_endpoint
from grasp_client.observation import Observation

DEPTH = np.full((48, 64), 0.7, np.float32)


@pytest.mark.parametrize("name", PRESETS)
def test_hand_is_named_in_place_of_its_sizes(name: str) -> None:
    hand = PlanRequest.model_validate({"gripper": name}).gripper
    assert hand == Gripper.model_validate(PRESETS[name])
    assert hand.max_width + 2 * hand.pad[0] <= hand.palm_width


def test_presets_have_the_sizes_of_their_names() -> None:
    opening = {name: Gripper.model_validate(name).max_width for name in ("robotiq_2f_85", "robotiq_2f_140", "wsg_50")}
    assert opening == {"robotiq_2f_85": 0.085, "robotiq_2f_140": 0.14, "wsg_50": 0.11}
    assert Gripper.model_validate("franka_hand") == Gripper()
    assert Gripper.model_validate("suction_7.5mm").cup_radius == 0.0075


def test_unknown_name_is_refused_with_the_names() -> None:
    with pytest.raises(ValidationError, match=r"'panda'.*franka_hand, robotiq_2f_85"):
        PlanRequest.model_validate({"gripper": "panda"})


@pytest.mark.parametrize(
    ("given", "pad"),
    [
        ({}, (0.0145, 0.018)),
        ({"max_width": 0.06}, (0.0145, 0.018)),
        ({"finger_depth": 0.01, "pad_thickness": 0.002, "pad_depth": 0.05}, (0.002, 0.01)),
        # Sizes as they were recorded before there were pads: a finger as thick all over.
        ({"finger_width": 0.02, "finger_thickness": 0.01, "finger_depth": 0.053}, (0.01, 0.053)),
        ({"finger_thickness": 0.02}, (0.02, 0.0463)),
    ],
)
def test_pads_belong_to_the_fingers_they_are_told_with(given: dict[str, float], pad: tuple[float, float]) -> None:
    assert Gripper.model_validate(given).pad == pad


@pytest.mark.parametrize(
    "given", [{"finger_width": 0.02, "pad_depth": 0.01}, {"finger_thickness": 0.01, "pad_thickness": 0.02}]
)
def test_pads_that_cannot_be_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="pad_thickness"):
        Gripper.model_validate({"pad_depth": 0.01, **given} if "pad_thickness" in given else given)


@pytest.mark.parametrize(
    "hand",
    [Gripper(), Gripper(max_width=0.06), Gripper(finger_depth=0.03), Gripper(finger_thickness=0.0264),
     Gripper(finger_width=0.015, pad_thickness=0.0145, pad_depth=0.018), Gripper.model_validate("suction_30mm")],
)  # fmt: skip
def test_client_sends_the_hand_that_it_was_given(hand: Gripper) -> None:
    call = plan_endpoint(Observation(DEPTH), PlanRequest(gripper=hand), None).call
    assert PlanRequest.model_validate(json.loads(call.headers["X-Request"])).gripper == hand


def test_hand_without_pads_is_sent_to_servers_that_know_none() -> None:
    call = plan_endpoint(Observation(DEPTH), PlanRequest(gripper=Gripper(finger_depth=0.03)), None).call
    assert not {"pad_depth", "seal_compliance"} & json.loads(call.headers["X-Request"])["gripper"].keys()


def test_lip_of_a_cup_grows_with_the_cup() -> None:
    travel, angle = Gripper(cup_radius=0.015).lip
    assert (travel, math.degrees(angle)) == (pytest.approx(0.0025), pytest.approx(25))
    assert Gripper(cup_radius=0.03).lip == (pytest.approx(0.005), pytest.approx(angle))
    assert Gripper(cup_radius=0.015, seal_compliance=0.001).lip == (0.001, pytest.approx(angle * 0.4))


def test_a_copy_with_another_pad_has_that_pad() -> None:
    hand = Gripper()
    assert hand.pad == (0.0145, 0.018)
    assert hand.model_copy(update={"pad_depth": 0.01}).pad == (0.0145, 0.01)
    assert hand == Gripper()
    assert "pad" not in hand.model_dump() | json.loads(hand.model_dump_json())
