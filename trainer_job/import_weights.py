"""Offline importer: published weights into the registry, with a card.

    python -m trainer_job.import_weights SOURCE [--models-dir data/models] [--name gqcnn-jaw] [--promote]

SOURCE is a PyTorch state dict (`.pt`, `.pth`) of MobileUNet, of the Dex-Net 5.0 networks or of goal-conditioned Q-maps of
pushes and grasps, or a folder with a TensorFlow-1 checkpoint of the GQ-CNN family (`model.ckpt.index`, `architecture.json`,
`config.json`, `*_mean.npy`, `*_std.npy`). The kind of network is told from its parameters. State dicts are read with
`weights_only=True`; nothing is ever unpickled freely.
"""

import argparse
import json
import math
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from shared.networks import build_network
from shared.networks.fc_gqcnn import crop_form
from shared.networks.gqcnn4 import GQCNN4
from shared.registry import ModelCard, Registry
from trainer_job.importers.tf_checkpoint import read_checkpoint

# How the training crops of each family saw the world: focal length in crop pixels, range of gripper depths in metres.
VIEWS = {
    "gqcnn4": {"focal_px": 552.5, "near": 0.60, "far": 0.90},  # PhoXi S at 516x386, 96-pixel crops
    "gqcnn": {"focal_px": 175.0, "near": 0.60, "far": 0.80},  # Primesense Carmine, 96-pixel crops shrunk to 32
    "efficientnet": {"focal_px": 175.0, "near": 0.60, "far": 0.80},
    "push-grasp-qmap": {"grasp_from": 1.8},  # the value from which on the publishers' policy grasps
}
QMAP = "push-grasp-qmap"
NAMES = {"mobileunet": "heatmap", "gqcnn": "gqcnn", "gqcnn4": "gqcnn", "efficientnet": "efficientnet", QMAP: QMAP}
ONE_HAND = ("mobileunet", QMAP)
"""Networks of a jaw alone: the name of the model does not tell the hand."""


class ImportFailure(ValueError):
    """The source cannot be imported; the message says why and what would be right."""


@dataclass
class Imported:
    """Weights in our layout and what the card says of them."""

    architecture: str
    parameters: dict[str, Any]
    state: dict[str, Tensor]
    view: dict[str, float] = field(default_factory=dict)


def read_source(source: Path, overrides: dict[str, Any] | None = None) -> Imported:
    """Weights of a state-dict file or a TensorFlow-1 checkpoint folder, tried on the network's golden batch.

    overrides: parameters of the network that the source does not tell, such as mean and std. Raises ImportFailure.
    """
    try:
        imported = _tensorflow(source) if source.is_dir() else _state_dict(source)
    except (OSError, ValueError, KeyError) as error:
        raise ImportFailure(f"{source}: {error}") from error
    imported.parameters |= overrides or {}
    network = build_network(imported.architecture, imported.parameters)
    try:
        network.eval().load_state_dict(imported.state)
    except RuntimeError as error:
        raise ImportFailure(f"{source}: the parameters do not fit {imported.architecture!r}: {error}") from error
    with torch.inference_mode():
        if not network(*network.golden_batch()).isfinite().all():  # type: ignore[operator]
            raise ImportFailure(f"{source}: the network's output is not finite on its golden batch")
    return imported


def publish(imported: Imported, registry: Registry, name: str, kind: str, note: str, promote: bool) -> int:
    """Store as the next version of `name` and return its number."""
    card = ModelCard.model_validate(
        {
            "name": name,
            "architecture": imported.architecture,
            "parameters": imported.parameters,
            "note": note or "Imported; its quality was never calibrated on outcomes of this system.",
            "kind": kind,
            "view": {**VIEWS.get(imported.architecture, {}), **imported.view},
        }
    )
    weights = save({key: value.contiguous() for key, value in imported.state.items()})
    version = registry.publish(name, weights, card)
    if promote:
        registry.promote(name, version)
    return version


def _state_dict(source: Path) -> Imported:
    try:
        loaded = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several unrelated types for files that are no state dict
        raise ImportFailure(f"not a readable PyTorch state dict (weights_only): {error}") from error
    loaded = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    state = {str(name).removeprefix("module."): value for name, value in loaded.items() if isinstance(value, Tensor)}
    if "backbone1.0.0.weight" in state:
        rotations = len(state["conv3.bias"])
        # Published labels count the angle from the image rows: k = 0 closes along v.
        angles = [math.pi / 2 - k * math.pi / rotations for k in range(rotations)]
        inputs = state["backbone1.0.0.weight"].shape[1]
        return Imported("mobileunet", {"rotations": rotations, "inputs": inputs, "angles": angles}, state)
    if "efficient_net.features.0.0.weight" in state:
        return Imported("efficientnet", {}, state)
    if "conv5.weight" in state and "conv7.weight" in state:
        state = crop_form(state)  # one form is kept; planners derive the other
    if "fc.weight" in state and "conv1.weight" in state:
        return Imported("gqcnn", {"padding": _padding(math.isqrt(state["fc.weight"].shape[1] // 64))}, state)
    if "push_color_trunk.features.conv0.weight" in state:
        return _qmap(state)
    raise ImportFailure(
        "unknown network; expected the parameters of MobileUNet (backbone1.*), GQ-CNN (conv1..4, fc, fc2, fc3), FC-GQ-CNN "
        "(conv1..7), EfficientNet (efficient_net.*) or Q-maps of pushes and grasps (push_color_trunk.*, ...), "
        f"got {len(state)} tensors: {', '.join(list(state)[:6])} ..."
    )


def _qmap(state: dict[str, Tensor]) -> Imported:
    """Without the classifiers of its trunks, which nothing uses."""
    state = {name: value for name, value in state.items() if ".classifier." not in name}
    parts = (name.split(".")[2:4] for name in state if name.startswith("push_color_trunk.features.denseblock"))
    layers = Counter(block for block, _ in {tuple(part) for part in parts})
    growth = len(state["push_color_trunk.features.conv0.weight"]) // 2
    goal = any(name.startswith("mask_trunk.") for name in state)
    return Imported(QMAP, {"growth": growth, "blocks": [layers[block] for block in sorted(layers)], "goal": goal}, state)


def _padding(side: int) -> str:
    return "same" if side == 16 else "valid"


def _tensorflow(folder: Path) -> Imported:
    indices = sorted(folder.glob("*.index"))
    if not indices:
        raise ImportFailure("no TensorFlow checkpoint here: expected a file such as model.ckpt.index")
    tensors = read_checkpoint(indices[-1].with_suffix(""))
    config = json.loads((folder / "config.json").read_text())["gqcnn"]
    parameters = {
        "architecture": json.loads((folder / "architecture.json").read_text()),
        "depth_mode": config.get("input_depth_mode", "pose_stream"),
        "angular_bins": config.get("angular_bins", 0),
        "crop_size": config["im_height"],
        "leak": config.get("relu_coeff", 0.0),
        **_statistics(folder),
    }
    network = build_network("gqcnn4", parameters)
    assert isinstance(network, GQCNN4)
    return Imported("gqcnn4", parameters, _tensorflow_state(tensors, network))


def _statistics(folder: Path) -> dict[str, Any]:
    """Means and deviations, from the files of either depth mode; a pose of suction is depth and lean of the approach."""
    found: dict[str, Any] = {}
    names = {"im_": "", "im_depth_sub_": "", "pose_": "depth_"}
    for file, ours in names.items():
        for statistic in ("mean", "std"):
            path = folder / f"{file}{statistic}.npy"
            if path.is_file():
                values = np.load(path, allow_pickle=False).reshape(-1).tolist()
                found[ours + statistic] = values[0]
                if file == "pose_" and len(values) == 2:
                    found.setdefault("lean", []).append(values[1])
    return found


def _tensorflow_state(tensors: dict[str, np.ndarray], network: GQCNN4) -> dict[str, Tensor]:
    """Every parameter of the network from tensors named `<anything>/<layer>_{weights,bias,input_N_weights}`.

    TensorFlow keeps convolutions as (height, width, in, out) and flattens maps in that order, so a fully connected layer
    (h w in, out) becomes the convolution (out, in, h, w); the inputs of a merging layer are stacked in their order.
    """
    by_name = {name.rsplit("/", 1)[-1]: value for name, value in tensors.items()}
    state = {}
    for name, parameter in network.state_dict().items():
        layer, part = name.split(".")[-2:]
        if part == "bias":
            value = by_name[f"{layer}_bias"]
        elif f"{layer}_weights" in by_name:
            value = by_name[f"{layer}_weights"]
        else:
            value = np.concatenate([by_name[f"{layer}_input_{k}_weights"] for k in (1, 2)])
        if part == "weight" and parameter.ndim == 4:
            out, channels, height, width = parameter.shape
            value = value.reshape(height, width, channels, out).transpose(3, 2, 0, 1)
        elif part == "weight":
            value = value.T
        state[name] = torch.from_numpy(np.array(value, dtype=np.float32, order="C"))
    return state


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m trainer_job.import_weights", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", type=Path, help="state dict file, or folder of a TensorFlow-1 checkpoint")
    parser.add_argument("--models-dir", type=Path, default=Path("data/models"), help="registry (default: %(default)s)")
    parser.add_argument("--name", help="model name in the registry (default: by network and gripper, e.g. gqcnn-jaw)")
    parser.add_argument("--kind", choices=("parallel_jaw", "suction"), default="parallel_jaw", help="gripper of the weights")
    parser.add_argument(
        "--parameters", type=json.loads, default={}, metavar="JSON", help="of the network, e.g. its mean and std"
    )
    parser.add_argument("--view", type=json.loads, default={}, metavar="JSON", help="focal_px, near, far of the training crops")
    parser.add_argument("--note", default="", help="kept in the card: where the weights come from, their licence")
    parser.add_argument("--promote", action="store_true", help="make it the champion")
    options = parser.parse_args(arguments)
    try:
        imported = read_source(options.source, options.parameters)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    imported.view |= options.view
    suffix = "" if imported.architecture in ONE_HAND else {"parallel_jaw": "-jaw", "suction": "-suction"}[options.kind]
    name = options.name or NAMES[imported.architecture] + suffix
    version = publish(imported, Registry(options.models_dir), name, options.kind, options.note, options.promote)
    count = sum(value.numel() for value in imported.state.values())
    print(f"{name} version {version}: {imported.architecture}, {len(imported.state)} tensors, {count:,} numbers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
