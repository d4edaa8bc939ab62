"""Make the example observation of the documentation again: `python docs/example/make.py`, from a seed and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from grasp_client.imaging import encode_png_depth, encode_png_rgb
from sim_worker.world import CameraSpec, SceneSpec, World

FOLDER = Path(__file__).parent
CAMERA = CameraSpec(width=640, height=480, focal=900.0, distance=0.70)


def main() -> None:
    scene = World().build(SceneSpec(seed=11, kind="pile", count=8, object_set="train", profile="standard", camera=CAMERA))
    view = scene.observe()
    assert view.observation.depth is not None
    (FOLDER / "depth.png").write_bytes(encode_png_depth(view.observation.depth, 0.001))
    (FOLDER / "color.png").write_bytes(encode_png_rgb(view.rgb))
    (FOLDER / "camera.json").write_text(json.dumps(view.camera.model_dump()) + "\n")
    pose = np.round(np.asarray(view.camera_pose), 6).tolist()
    (FOLDER / "camera_pose.json").write_text(json.dumps(pose) + "\n")


if __name__ == "__main__":
    main()
