"""The three ways of the policy benchmark are the same policy: they come to the same grasp."""

import torch

import planning.gqcnn.cem
import planning.gqcnn.jaw
from benchmarks.planners import scenes
from benchmarks.policy import WAYS, measure

torch.set_num_threads(1)


def test_in_batches_and_one_by_one_come_to_the_same_grasp(monkeypatch):
    monkeypatch.setattr(planning.gqcnn.jaw, "SEEDS", 12)
    monkeypatch.setattr(planning.gqcnn.cem, "SEEDS", 12)
    monkeypatch.setattr(planning.gqcnn.cem, "RESAMPLED", 6)
    seen = [(observation, request.model_copy(update={"seed": 0})) for observation, request in scenes(1, 320, 240, "clean")]
    rows = measure("gqcnn4", seen, WAYS)
    assert [row["way"] for row in rows] == list(WAYS)
    assert [row["answered"] for row in rows] == [1, 1, 1]
    assert [row["same"] for row in rows] == [1.0, 1.0, 1.0]
    assert all(row["ratio"] > 0 for row in rows)
