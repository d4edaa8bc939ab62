import json

import numpy as np
import pytest
import torch
from published import published
from safetensors.torch import load

from shared.networks import build_network
from shared.networks.fc_gqcnn import convert
from shared.registry import Registry
from trainer_job.import_weights import main, read_source
from trainer_job.importers.tf_checkpoint import CheckpointError, read_checkpoint

torch.set_num_threads(1)


def run(source, folder, *options):
    return main([str(source), "--models-dir", str(folder), *options])


def served(folder, name, version=1):
    """The network as the server builds it from the registry."""
    registry = Registry(folder)
    card = registry.card(name, version)
    network = build_network(card.architecture, card.parameters).eval()
    network.load_state_dict(load(registry.read_weights(name, version)))
    return network, card


def test_published_mobileunet_reproduces_its_own_forward_pass(tmp_path):
    source = published("formats/mobileunet_state_dict.pt")
    data = np.load(published("formats/mobileunet_val_dataset.npz"))
    assert run(source, tmp_path, "--parameters", '{"output_relu": true}', "--promote") == 0
    network, card = served(tmp_path, "heatmap")
    assert Registry(tmp_path).champion("heatmap") == 1
    assert len(network.state_dict()) == 110
    assert card.parameters["angles"] == pytest.approx([np.pi / 2, 0])
    images = torch.from_numpy(data["imgs"]).permute(0, 3, 1, 2).float() / 255
    row, column, rotation = torch.from_numpy(data["actions"]).T
    with torch.inference_mode():
        logits = network(images)
    loss = torch.nn.functional.cross_entropy(logits.flatten(1), rotation * 4096 + row * 64 + column)
    # Measured with the publisher's own code on its 200 validation images: 8.86, and 94 % of the outputs are exactly zero.
    assert loss.item() == pytest.approx(8.86, abs=0.01)
    assert (logits == 0).float().mean().item() == pytest.approx(0.94, abs=0.005)


@torch.inference_mode()
def test_published_tensorflow_checkpoint_is_read_without_tensorflow(tmp_path):
    folder = published("formats/gqcnn-4.0-pj")
    assert run(folder, tmp_path) == 0
    network, card = served(tmp_path, "gqcnn-jaw")
    assert card.architecture == "gqcnn4"
    assert network.mean == pytest.approx(0.7728026)
    assert network.depth_std == pytest.approx(0.06893365)
    assert Registry(tmp_path).champion("gqcnn-jaw") is None
    # A direct evaluation of the layers in TensorFlow's own layout (rows, columns, channels), one crop.
    tensors = read_checkpoint(folder / "model.ckpt")
    crop, depth = network.golden_batch()
    image = ((crop[0, 0].numpy() - network.mean) / network.std)[:, :, None]
    for layer, pool in (("conv1_1", 1), ("conv1_2", 2), ("conv2_1", 1), ("conv2_2", 2)):
        kernel = tensors[f"im_stream/{layer}/{layer}_weights"]
        windows = np.lib.stride_tricks.sliding_window_view(image, kernel.shape[:2], axis=(0, 1))
        image = np.einsum("ijchw,hwco->ijo", windows, kernel) + tensors[f"im_stream/{layer}/{layer}_bias"]
        image = np.maximum(image, 0)
        side = len(image) // pool
        image = image.reshape(side, pool, side, pool, -1).max((1, 3))
    features = np.maximum(image.reshape(-1) @ tensors["im_stream/fc3_weights"] + tensors["im_stream/fc3_bias"], 0)
    pose = (depth[:1].numpy() - network.depth_mean) / network.depth_std
    pose = np.maximum(pose @ tensors["pose_stream/pc1_weights"] + tensors["pose_stream/pc1_bias"], 0)
    merged = features @ tensors["merge_stream/fc4_input_1_weights"] + pose @ tensors["merge_stream/fc4_input_2_weights"]
    merged = np.maximum(merged + tensors["merge_stream/fc4_bias"], 0)
    failure, success = merged @ tensors["merge_stream/fc5_weights"] + tensors["merge_stream/fc5_bias"]
    assert network(crop, depth)[0].item() == pytest.approx(success - failure, abs=1e-3)


def test_damaged_checkpoints_are_refused(tmp_path):
    folder = published("formats/gqcnn-4.0-pj")
    for damaged in ("index", "data-00000-of-00001"):
        for file in ("index", "data-00000-of-00001"):
            raw = bytearray((folder / f"model.ckpt.{file}").read_bytes())
            if file == damaged:
                raw[100] ^= 1
            (tmp_path / f"model.ckpt.{file}").write_bytes(raw)
        with pytest.raises(CheckpointError, match="damaged"):
            read_checkpoint(tmp_path / "model.ckpt")
    (tmp_path / "model.ckpt.index").write_bytes(b"no table" * 10)
    with pytest.raises(CheckpointError, match="magic"):
        read_checkpoint(tmp_path / "model.ckpt")


@pytest.mark.parametrize("form", ["crop", "fc"])
def test_dexnet5_state_dicts_become_one_form(tmp_path, form):
    torch.manual_seed(0)
    network = build_network("gqcnn", {}).eval()
    state = network.state_dict() if form == "crop" else convert(network.state_dict())
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "net.pth")
    parameters = {"mean": 0.59784445, "std": 0.00770148}
    assert (
        run(tmp_path / "net.pth", tmp_path, "--kind", "suction", "--parameters", json.dumps(parameters), "--note", "a test")
        == 0
    )
    loaded, card = served(tmp_path, "gqcnn-suction")
    assert (card.architecture, card.note) == ("gqcnn", "a test")
    assert card.model_extra == {"kind": "suction", "view": {"focal_px": 175.0, "near": 0.6, "far": 0.8}}
    assert loaded.mean == parameters["mean"]
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_efficientnet_is_recognised(tmp_path):
    network = build_network("efficientnet", {})
    torch.save(network.state_dict(), tmp_path / "net.pth")
    assert read_source(tmp_path / "net.pth").architecture == "efficientnet"


def test_qmaps_are_recognised_and_their_classifiers_left_out(tmp_path):
    parameters = {"growth": 4, "blocks": [1, 2, 1, 3], "goal": True}
    state = build_network("push-grasp-qmap", parameters).state_dict()
    unused = {f"{trunk}.classifier.weight": torch.zeros(9, 9) for trunk in ("push_color_trunk", "mask_trunk")}
    torch.save({**state, **unused}, tmp_path / "snapshot-backup.reinforcement.pth")
    assert run(tmp_path / "snapshot-backup.reinforcement.pth", tmp_path / "models", "--promote") == 0
    network, card = served(tmp_path / "models", "push-grasp-qmap")
    assert card.parameters == parameters
    assert card.model_extra["view"] == {"grasp_from": 1.8}
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_what_cannot_be_imported_is_explained(tmp_path, capsys):
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.pt")
    assert run(tmp_path / "other.pt", tmp_path) == 1
    assert "unknown network" in capsys.readouterr().err
    (tmp_path / "text.pt").write_text("hello")
    assert run(tmp_path / "text.pt", tmp_path) == 1
    assert "not a readable PyTorch state dict" in capsys.readouterr().err
    assert run(tmp_path / "absent.pt", tmp_path) == 1
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", tmp_path) == 1
    assert "model.ckpt.index" in capsys.readouterr().err
    state = build_network("gqcnn", {}).state_dict()
    state["conv2.weight"] = state["conv2.weight"][:32]
    torch.save(state, tmp_path / "cut.pt")
    assert run(tmp_path / "cut.pt", tmp_path) == 1
    assert "do not fit 'gqcnn'" in capsys.readouterr().err
    assert Registry(tmp_path).names() == []


def test_pickled_code_is_never_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"conv1.weight": Trap()}, tmp_path / "trap.pt")
    assert run(tmp_path / "trap.pt", tmp_path) == 1
    assert not (tmp_path / "sprung").exists()
