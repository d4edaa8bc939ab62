"""The three ways of the policy benchmark are the same policy: they come to the same grasp."""

import torch

from benchmarks.planners import scenes
from benchmarks.policy import WAYS, measure
from inference_server.planners import cross_entropy, gqcnn

torch.set_num_threads(1)


def test_in_batches_and_one_by_one_come_to_the_same_grasp(monkeypatch):
    monkeypatch.setattr(gqcnn, "SEEDS", 12)
    monkeypatch.setattr(cross_entropy, "SEEDS", 12)
    monkeypatch.setattr(cross_entropy, "RESAMPLED", 6)
    seen = [(observation, request.model_copy(update={"seed": 0})) for observation, request in scenes(1, 320, 240, "clean")]
    rows = measure("gqcnn4", seen, WAYS)
    assert [row["way"] for row in rows] == list(WAYS)
    assert [row["answered"] for row in rows] == [1, 1, 1]
    assert [row["same"] for row in rows] == [1.0, 1.0, 1.0]
    assert all(row["ratio"] > 0 for row in rows)
