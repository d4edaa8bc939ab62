"""What a network makes of an image, layer by layer, and how its weights moved."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from serving import CAMERA, OPTIONS, PNG, Running
from torch import nn

from planning.networks.activations import ActivationRecorder, weight_changes

DENSE = {"camera": CAMERA, "planner": "dense"}


def test_a_recorder_keeps_the_row_that_the_network_thinks_best_of() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 1))
    network.requires_grad_(False)
    recorder = ActivationRecorder(network)
    pictures = torch.stack([torch.full((1, 4, 4), value) for value in (-1.0, 0.0, 1.0)])
    with recorder.recording():
        best = int(network(pictures).argmax())
    layers = {layer.name: layer for layer in recorder.layers()}
    assert list(layers) == ["input 0", "0", "2"]
    assert np.array_equal(layers["input 0"].maps, pictures[best].numpy())
    assert layers["0"].maps.shape == (2, 2, 2)
    assert not network[0]._forward_hooks  # the next plan is not recorded


def test_layers_come_as_json_png_and_gif(server: Running) -> None:
    reply = server.form(DENSE, "/activations", depth=PNG).json()
    assert reply["model"]["name"] == "dense"
    assert len(reply["layers"]) > 4
    first = reply["layers"][0]
    assert first["kind"] == "input"
    assert first["shape"][1:] == [24, 40]
    assert Image.open(io.BytesIO(base64.b64decode(first["png"]))).format == "PNG"
    for kind, media_type in (("PNG", "image/png"), ("GIF", "image/gif")):
        files, data = {"depth": ("d.png", PNG)}, {"request": json.dumps(DENSE)}
        drawn = server.client.post("/activations", files=files, data=data, headers={"Accept": media_type})
        assert drawn.headers["content-type"] == media_type
        assert Image.open(io.BytesIO(drawn.content)).format == kind


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (OPTIONS, "no_network"),
        ({**DENSE, "region": [0, 0, 3, 3]}, "nothing_to_score"),
        ({**DENSE, "planner": "none"}, "unknown_planner"),
    ],
)
def test_what_cannot_be_shown_is_refused(server: Running, options: dict, code: str) -> None:
    assert server.form(options, "/activations", depth=PNG).json()["error"]["code"] == code


def test_changes_of_weights_are_shares_of_what_they_were() -> None:
    before = {"a": torch.ones(4), "b": torch.ones(2, 2), "count": torch.tensor([1, 2])}
    after = {"a": 2 * torch.ones(4), "b": torch.ones(3, 3), "count": torch.tensor([2, 3])}
    assert weight_changes(before, after) == {"a": 1.0}


def test_a_version_is_compared_with_itself(server: Running) -> None:
    changes = server.client.get("/models/dense/changes", params={"version": 1, "against": 1}).json()["changes"]
    assert len(changes) > 8
    assert set(changes.values()) == {0.0}
    assert server.client.get("/models/dense/changes", params={"version": 9, "against": 1}).status_code == 404
