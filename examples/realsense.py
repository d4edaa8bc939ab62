"""Grasps for what a RealSense camera sees: `python examples/realsense.py`, without a camera `--recorded recorded.npz`.

Needs `pip install ./grasp_client`, and `pip install pyrealsense2` for a camera. `--record FILE.npz` keeps what was seen.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from grasp_client import GraspClient
from grasp_client.drawing import draw_grasps

WARM_UP = 30
"""Frames until the exposure has settled."""


class Frame(NamedTuple):
    """depth (H, W) m, 0 = no reading; rgb (H, W, 3) uint8 in the same pixels; intrinsics of both."""

    depth: np.ndarray
    rgb: np.ndarray
    camera: dict[str, float]


def from_camera() -> Frame:
    """One aligned pair. The depth's unit is the camera's own, which is not a millimetre on every model."""
    import pyrealsense2 as rs

    pipeline, config = rs.pipeline(), rs.config()
    config.enable_stream(rs.stream.depth, 640, 480, rs.format.z16, 30)
    config.enable_stream(rs.stream.color, 640, 480, rs.format.rgb8, 30)
    profile = pipeline.start(config)
    try:
        unit = profile.get_device().first_depth_sensor().get_depth_scale()
        align = rs.align(rs.stream.color)
        for _ in range(WARM_UP):
            frames = align.process(pipeline.wait_for_frames())
        depth, color = frames.get_depth_frame(), frames.get_color_frame()
        intrinsics = color.profile.as_video_stream_profile().intrinsics
    finally:
        pipeline.stop()
    camera = {"fx": intrinsics.fx, "fy": intrinsics.fy, "cx": intrinsics.ppx, "cy": intrinsics.ppy}
    return Frame(np.asarray(depth.get_data()).astype(np.float32) * unit, np.asarray(color.get_data()), camera)


def from_recording(path: Path) -> Frame:
    """What `record` wrote: depth uint16 with its unit, rgb, intrinsics."""
    with np.load(path) as kept:
        camera = dict(zip(("fx", "fy", "cx", "cy"), kept["intrinsics"].tolist(), strict=True))
        return Frame(kept["depth"].astype(np.float32) * float(kept["unit"]), kept["rgb"], camera)


def record(path: Path, frame: Frame, unit: float = 0.001) -> None:
    units = np.round(frame.depth / unit).astype(np.uint16)
    intrinsics = [frame.camera[name] for name in ("fx", "fy", "cx", "cy")]
    np.savez_compressed(path, depth=units, unit=unit, rgb=frame.rgb, intrinsics=intrinsics)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recorded", type=Path, help="plan on this recording instead of a camera's picture")
    parser.add_argument("--record", type=Path, help="keep what the camera sees in this .npz")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--gripper", default="franka_hand", help="name of a hand (GET /grippers)")
    parser.add_argument("--overlay", type=Path, help="draw the grasps on the picture")
    options = parser.parse_args()
    frame = from_recording(options.recorded) if options.recorded else from_camera()
    if options.record:
        record(options.record, frame)
    with GraspClient(options.url) as client:
        plan = client.predict_grasp(frame.depth, frame.rgb, camera=frame.camera, gripper=options.gripper, n_grasps=5)
    for grasp in plan.grasps:
        x, y, z = np.array(grasp.pose_camera)[:3, 3]
        where = f"({x:+.3f}, {y:+.3f}, {z:.3f}) m before the camera"
        print(f"quality {grasp.quality:.2f} at {where}, open {1000 * grasp.width:.0f} mm")
    if not plan.grasps:
        print(f"no grasp: {plan.rejections}")
    if options.overlay:
        Image.fromarray(draw_grasps(frame.rgb, plan.grasps)).save(options.overlay)


if __name__ == "__main__":
    main()
