"""How places are ranked by what is told of them and of what lies round them."""

import math

import numpy as np
import pytest
import torch

from grasp_client.contract import CameraIntrinsics, PlanRequest
from grasp_client.observation import Observation
from planning.rgb.maps import Peaks, QualityMaps
from planning.rgb.ranking import MAPS_TEMPERED, SQUARE, TEMPERED, candidates_of, rank_refined, tempered
from planning.rgb.ranking import rank as rank_maps
from planning.rgb.refinement import GraspRefiner
from planning.rgb.unlike_table import Things
from shared.features.rgb_input import RgbInput
from shared.networks.height_from_rgb import BINS, PIXELS_PER_METRE
from shared.table_grasp import ROTATIONS, TIP_HEIGHTS

TURN, LEVEL = 5, 1
IMAGE = np.zeros((192, 256, 3), np.uint8)
MAPS = QualityMaps(
    torch.zeros(len(TIP_HEIGHTS), ROTATIONS, 48, 64),
    torch.arange(ROTATIONS) * math.pi / ROTATIONS,
    torch.tensor(TIP_HEIGHTS),
    RgbInput(IMAGE, (1.0, 1.0), (192, 256)),
)


class Island(GraspRefiner):
    """Tells that a grasp holds within a disc, at one angle and height, and that a hand fits everywhere."""

    def __init__(self, request, middle, radius):
        super().__init__(None, Observation(rgb=IMAGE), request, torch.device("cpu"))
        self.middle, self.radius, self.asked = torch.tensor(middle), radius, []

    def refine(self, middles):
        self.asked.append(middles)
        holds = torch.full((len(middles), len(TIP_HEIGHTS), ROTATIONS), -6.0)
        holds[torch.cdist(middles, self.middle[None])[:, 0] <= self.radius, LEVEL, TURN] = 6.0
        return holds, torch.zeros_like(holds), torch.zeros(len(middles), 2, BINS)


NO_THINGS = Things(torch.zeros(0, 2), torch.zeros(0), np.full(IMAGE.shape[:2], 0.5, np.float32), MAPS.picture)


def rank(middle, radius, pixels, segmask=None, things=None, **options):
    camera = CameraIntrinsics(fx=0.7 * PIXELS_PER_METRE, fy=0.7 * PIXELS_PER_METRE, cx=127.5, cy=95.5)
    request = PlanRequest(camera=camera, table_depth=0.7, **options)
    refiner, pixels = Island(request, middle, radius), torch.as_tensor(pixels)
    count = len(pixels)
    peaks = Peaks(pixels, torch.zeros(count), torch.zeros(count, dtype=torch.long), torch.arange(0.0, -count, -1))
    item = Observation(rgb=IMAGE, segmask=segmask), request
    candidates = candidates_of(peaks, MAPS, lambda logits: logits, refiner, things or NO_THINGS, item)
    found, heights = rank_refined(candidates, MAPS.heights, request.gripper.finger_depth)
    assert len(heights) == len(found.pixels)
    return found, refiner


def test_angle_and_height_of_the_tips_are_those_that_hold():
    found, _ = rank([100.0, 90.0], 20.0, [[30.0, 40.0], [101.0, 92.0], [200.0, 150.0]])
    assert (found.pixels[0] - torch.tensor([100.0, 90.0])).norm() < 20
    assert float(found.angles[0]) == pytest.approx(TURN * math.pi / ROTATIONS)
    assert int(found.levels[0]) == LEVEL
    assert (found.logits.diff() <= 0).all()


def test_what_lies_next_to_the_best_is_looked_at_and_the_middle_of_what_holds_wins():
    found, refiner = rank([101.0, 91.0], 5.0, [[96.5, 90.5], [30.0, 40.0]])
    assert len(refiner.asked[0]) == 2
    assert len(refiner.asked[1]) == 16
    assert (found.pixels[0] - torch.tensor([101.0, 91.0])).norm() <= SQUARE


def seen_at(pixel, likely):
    """Things at one pixel, and nowhere else."""
    shares = np.full(IMAGE.shape[:2], 0.1, np.float32)
    shares[pixel[1] - 10 : pixel[1] + 11, pixel[0] - 10 : pixel[0] + 11] = likely
    return Things(torch.tensor([pixel]).float(), torch.zeros(1), shares, MAPS.picture)


def test_a_thing_is_looked_at_where_the_maps_have_no_peak():
    things = seen_at((100, 90), 0.9)
    found, _ = rank([100.0, 90.0], 10.0, [[30.0, 40.0]], things=things)
    assert (found.pixels[0] - torch.tensor([100.0, 90.0])).norm() < 10
    flat, _ = rank([300.0, 300.0], 1.0, [[30.0, 40.0]], things=things)  # nothing seems to hold: what is a thing comes first
    assert (flat.pixels[0] - torch.tensor([100.0, 90.0])).norm() < 15


def test_where_no_thing_is_seen_the_quality_is_lower():
    where = [[100.0, 90.0]]
    on, off = (rank([100.0, 90.0], 20.0, where, things=seen_at(at, 0.9))[0].logits[0] for at in ((100, 90), (30, 40)))
    assert off < on - 0.3


def test_without_a_refiner_things_are_ranked_among_the_peaks():
    peaks = Peaks(torch.tensor([[30.0, 40.0]]), torch.zeros(1), torch.zeros(1, dtype=torch.long), torch.zeros(1))
    item = Observation(rgb=IMAGE), PlanRequest()
    found = rank_maps(peaks, MAPS, lambda logits: logits, seen_at((100, 90), 0.9), item)
    assert found.pixels.tolist() == [[100.0, 90.0], [30.0, 40.0]]
    masked = np.zeros(IMAGE.shape[:2], bool)
    masked[35:45, 25:35] = True
    kept = rank_maps(
        peaks, MAPS, lambda logits: logits, seen_at((100, 90), 0.9), (Observation(rgb=IMAGE, segmask=masked), item[1])
    )
    assert kept.pixels.tolist() == [[30.0, 40.0]]


def test_places_in_one_square_are_looked_at_once():
    _, refiner = rank([100.0, 90.0], 20.0, [[100.1, 100.2], [101.0, 101.0], [103.9, 100.0], [104.1, 100.0]])
    assert len(refiner.asked[0]) == 2


def test_nothing_outside_of_the_region_or_the_picture_is_added():
    region = [98.0, 88.0, 110.0, 100.0]
    found, _ = rank([100.0, 90.0], 20.0, [[100.0, 90.0], [108.0, 98.0]], region=region)
    assert len(found.pixels) > 2
    assert found.pixels.min(0).values.tolist() >= region[:2]
    assert found.pixels.max(0).values.tolist() <= region[2:]
    corner, _ = rank([0.0, 0.0], 20.0, [[0.0, 0.0], [254.0, 190.0]])
    assert corner.pixels.min() >= 0
    assert (corner.pixels <= torch.tensor([255.0, 191.0])).all()


def test_grasps_stay_within_a_segmask_with_holes():
    mask = np.zeros(IMAGE.shape[:2], bool)
    mask[80:100:2, 90:110:2] = True  # every other pixel of every other row
    pixels = [[100.0, 90.0], [102.0, 92.0], [96.0, 84.0], [98.0, 84.0], [96.0, 86.0]]
    found, _ = rank([100.0, 90.0], 20.0, pixels, segmask=mask)
    assert len(found.pixels) >= 2
    column, row = found.pixels.round().long().unbind(1)
    assert mask[row, column].all()


def test_without_peaks_there_is_nothing_to_rank():
    found, refiner = rank([100.0, 90.0], 20.0, np.zeros((0, 2), np.float32))
    assert len(found.pixels) == 0
    assert refiner.asked == []


@pytest.mark.parametrize(("by", "promised"), [(TEMPERED, 0.953), (MAPS_TEMPERED, 0.734)])
def test_high_qualities_are_lowered_low_ones_kept_and_the_order_stays(by, promised):
    logits = torch.linspace(-6, 8, 50)
    lowered = tempered(logits, by)
    assert (lowered.diff() > 0).all()
    assert torch.equal(lowered[logits < -0.6], logits[logits < -0.6])
    assert torch.sigmoid(tempered(torch.tensor(3.5), by)) == pytest.approx(promised, abs=0.002)
