"""What is unlike the table is found on painted pictures, whose things are known."""

import math

import cv2
import numpy as np
import pytest
import torch

from grasp_client.contract import CameraIntrinsics, PlanRequest
from grasp_client.observation import Observation
from planning.base import PlannerError
from planning.goal.marking import mark_goal
from planning.rgb.unlike_table import PIXELS_PER_METRE, find_things, narrowest, piece_at, proposed, unlike_table

PITCH = 1 / PIXELS_PER_METRE
SIZE = (120, 160)
CENTRE = np.array([79.5, 59.5])


def table(pattern: str) -> np.ndarray:
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    picture = np.tile(np.array([170.0, 140, 100]), (*SIZE, 1))
    if pattern == "checks":
        picture[(u // 12 + v // 12) % 2 > 0] = (90, 110, 150)
    if pattern == "lit from a side":
        picture *= (0.6 + 0.5 * u / SIZE[1])[..., None]
    if pattern == "shadow":
        picture[20:50, 20:60] *= 0.6
    noise = np.random.default_rng(0).normal(0, 3, picture.shape)
    return np.clip(cv2.GaussianBlur(picture, (0, 0), 0.7) + noise, 0, 255).astype(np.uint8)


def with_bar(picture: np.ndarray) -> np.ndarray:
    """A bar of 15 x 60 mm, turned by 30 degrees, about (100, 70)."""
    box = cv2.boxPoints(((100.0, 70.0), (60e-3 / PITCH, 15e-3 / PITCH), 30.0))
    return cv2.fillConvexPoly(picture.copy(), box.round().astype(np.int32), (40, 60, 50))


@pytest.mark.parametrize("pattern", ["plain", "checks", "lit from a side", "shadow"])
def test_a_bar_is_found_on_any_table(pattern):
    picture = with_bar(table(pattern))
    found = unlike_table(picture, CENTRE, PITCH)
    places = proposed(found, picture, PITCH)
    assert np.linalg.norm(places[0] - [100, 70]) < 5
    assert found.likely[70, 100] > 0.35
    assert found.likely[30, 40] < 0.1  # in the shadow, where there is one
    across = narrowest(found, places[:1], PITCH, 0.08)
    assert abs((across[0] - math.radians(120) + math.pi / 2) % math.pi - math.pi / 2) < math.radians(15)


@pytest.mark.parametrize("pattern", ["plain", "lit from a side", "shadow"])
def test_a_bare_table_has_nothing_likely(pattern):
    assert unlike_table(table(pattern), CENTRE, PITCH).likely.max() < 0.2


@pytest.mark.parametrize(
    ("what", "box"), [("a crumb", (80, 60, 81, 61)), ("what the frame cuts", (0, 40, 30, 60)), ("a rim", (4, 100, 156, 104))]
)
def test_what_is_no_thing_by_size_or_place_is_unlikely(what, box):
    picture = table("plain")
    picture[box[1] : box[3], box[0] : box[2]] = (40, 60, 50)
    assert unlike_table(picture, CENTRE, PITCH).likely.max() < 0.3


def test_things_of_a_heap_are_proposed_one_by_one():
    picture = table("plain")
    picture[20:100, 30:80] = (40, 60, 50)
    picture[20:100, 80:130] = (220, 40, 40)
    places = proposed(unlike_table(picture, CENTRE, PITCH), picture, PITCH)
    assert {place[0] < 80 for place in places[:6].tolist()} == {True, False}


def test_places_are_pixels_of_the_sent_picture_whatever_its_size():
    picture = cv2.resize(with_bar(table("plain")), None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    camera = CameraIntrinsics(fx=0.7 * 3 * PIXELS_PER_METRE, fy=0.7 * 3 * PIXELS_PER_METRE, cx=239.5, cy=179.5)
    things = find_things(Observation(rgb=picture), PlanRequest(camera=camera, table_depth=0.7))
    assert (things.places[0] - torch.tensor([301.0, 211.0])).norm() < 15
    on, off = things.logits_at(torch.tensor([[301.0, 211.0], [60.0, 60.0]])).tolist()
    assert on > 0
    assert off < -2


def test_a_pixel_of_a_thing_of_two_colours_marks_it_whole_and_one_of_the_table_is_refused():
    picture = with_bar(table("plain"))
    picture[66:74, 97:103] = (220, 40, 40)
    camera = CameraIntrinsics(fx=0.7 * PIXELS_PER_METRE, fy=0.7 * PIXELS_PER_METRE, cx=79.5, cy=59.5)
    request = PlanRequest(camera=camera, table_depth=0.7, point=[100, 70])
    (marked, _), told = mark_goal((Observation(rgb=picture), request))
    bar = (with_bar(table("plain")) != table("plain")).any(2)
    assert marked.goal is not None
    assert marked.goal[bar].mean() > 0.85
    assert marked.goal.sum() < 1.6 * bar.sum()
    assert told
    assert piece_at(Observation(rgb=picture), request, (10, 10))[1] == 0
    with pytest.raises(PlannerError, match="differs from the table"):
        mark_goal((Observation(rgb=table("plain")), request.model_copy(update={"point": [10, 10]})))
