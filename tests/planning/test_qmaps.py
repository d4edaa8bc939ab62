"""Q-maps of the registry: what is seen from above goes in, values of both actions come out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from planning.push.qmaps import MODEL, load_qmaps
from shared.maps.orthographic import OrthographicMaps
from shared.networks import build_network
from shared.registry import ModelCard, Registry, UnknownVersion

SMALL = {"growth": 2, "blocks": [1, 1, 1, 1], "zoom": 1, "rotations": 4}


def test_a_version_tells_the_values_of_both_actions(tmp_path: Path) -> None:
    with pytest.raises(UnknownVersion, match="no champion"):
        load_qmaps(tmp_path)
    torch.manual_seed(0)
    network = build_network(MODEL, SMALL).eval()
    card = ModelCard.model_validate({"name": MODEL, "architecture": MODEL, "parameters": SMALL, "view": {"grasp_from": 1.8}})
    registry = Registry(tmp_path)
    registry.promote(MODEL, registry.publish(MODEL, save(network.state_dict()), card))
    loaded = load_qmaps(tmp_path)
    assert (loaded.ref.name, loaded.ref.version, loaded.grasp_from) == (MODEL, 1, 1.8)
    random = np.random.default_rng(0)
    colour = random.integers(0, 256, (48, 48, 3)).astype(np.uint8)
    seen = OrthographicMaps(colour, random.uniform(0, 0.1, (48, 48)).astype(np.float32), random.random((48, 48)) < 0.1)
    values = loaded(seen)
    assert values.shape == (2, 4, 48, 48)
    maps = torch.from_numpy(np.concatenate([colour.transpose(2, 0, 1) / 255, seen.height[None], seen.goal[None]])).float()
    with torch.inference_mode():
        expected = network.values(maps[None], "grasp", torch.tensor([1]))  # type: ignore[operator]
    assert np.allclose(values[1, 1], expected[0].numpy(), atol=1e-5)
