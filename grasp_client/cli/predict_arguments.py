"""What `grasploop predict` takes on its command line."""

import argparse
import os
from pathlib import Path

from grasp_client.client import DEFAULT_DEADLINE, DEFAULT_URL

_EPILOG = """\
examples:
  grasploop predict depth.npy
      pixels only, with whatever planner the server finds best
  grasploop predict depth.png --intrinsics 525,525,319.5,239.5 --overlay grasps.png
      metric grasps in the camera frame; depth.png holds 16-bit millimetres
  grasploop predict depth.npy --intrinsics cam.intr --camera-pose camera_to_base.tf --gripper '{"max_width": 0.05}'
      poses in the robot's base frame, for a narrower hand
  grasploop predict depth.npy --json | jq '.grasps[0].pose_camera'
  grasploop predict depth.png --intrinsics 525,525,319.5,239.5 --view --glb grasps.glb
      cloud and hands in three dimensions: in the browser, and for other programs
  grasploop predict depth.png --intrinsics 525,525,319.5,239.5 --goal mask.png --action
      how to get one thing that others may stand around: grasp it, lift one of them away, or push
  grasploop predict captures/ --intrinsics camera_info.yaml --overlay pictures/
      every image of a folder, one row each; with --json one line each
  grasploop predict object.ply --scene-points scene.ply --viewpoint 0,0,0 --view
      clouds instead of images
  grasploop predict 7.npz
      depth, K, segmap and rgb, or xyz and segmap, as Contact-GraspNet reads them
  grasploop predict --rgb photo.jpg --intrinsics 900,900,640,360 --table-depth 0.65
      colour alone, also of a grey photograph

exit status: 0 answered (also with no grasp), 1 the server refused or did not answer, 2 wrong arguments or files
"""


def parser() -> argparse.ArgumentParser:
    """Of `grasploop predict`."""
    made = argparse.ArgumentParser(
        prog="grasploop predict",
        usage="%(prog)s IMAGE [IMAGE ...] [options]",
        description="Send depth or colour images to a GraspLoop server, print the ranked grasps, and draw them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_images(made.add_argument_group("images, all of the same size"))
    _add_camera(made.add_argument_group("camera (without it the answer is in pixels only)"))
    _add_options(made.add_argument_group("what to plan"))
    _add_server(made.add_argument_group("server"))
    _add_outputs(made.add_argument_group("output"))
    return made


def _add_images(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "images", type=Path, nargs="*", metavar="IMAGE",
        help="depth (16-bit PNG, TIFF, PGM; npy or npz, one channel) or colour (8-bit PNG, JPEG; npy uint8 HxWx3); "
        "a cloud (npy of N x 3 floats, PLY, PCD); npz as Contact-GraspNet's, a row for each segment; or a folder",
    )  # fmt: skip
    group.add_argument("--scene-points", type=Path, metavar="FILE", help="what surrounds a cloud: npy, PLY or PCD")
    group.add_argument(
        "--views", type=Path, metavar="FILE",
        help="in place of IMAGE: JSON of two to four depth images of one scene, [{depth: FILE, camera, camera_pose}, ...]",
    )  # fmt: skip
    group.add_argument(
        "--rgb", type=Path, metavar="FILE", help="colour image beside a depth IMAGE, drawn on; or alone, also of a grey photo"
    )
    group.add_argument("--segmask", type=Path, metavar="FILE", help="8-bit PNG or npy: grasp centres only where it is not 0")
    group.add_argument("--goal", type=Path, metavar="FILE", help="8-bit PNG or npy: not 0 on the one thing that is wanted")
    group.add_argument(
        "--depth-scale",
        type=float,
        default=0.001,
        metavar="M",
        help="metres per unit of an integer depth image (default 0.001)",
    )


def _add_camera(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--intrinsics",
        metavar="FX,FY,CX,CY|FILE",
        help="in pixels of IMAGE, or a file: RealSense, Open3D, BOP, ROS, OpenCV, Kalibr, .intr, npy",
    )
    group.add_argument(
        "--camera-pose", type=Path, metavar="FILE", help="4x4 camera to robot base (z up): .tf, JSON or four rows of numbers"
    )
    group.add_argument("--viewpoint", metavar="X,Y,Z", help="from where a cloud was seen, metres in its frame")
    group.add_argument("--table-depth", type=float, metavar="M", help="distance camera to table along the optical axis, metres")


def _add_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--planner", default="auto", metavar="NAME", help="auto (default) or a name from GET /planners")
    group.add_argument("--model-version", type=int, metavar="N", help="version of the planner's model (default: the champion)")
    group.add_argument("--n-grasps", type=int, default=10, metavar="N", help="most grasps to return (default 10)")
    group.add_argument("--min-quality", type=float, default=0.0, metavar="Q", help="least quality, 0 to 1 (default 0)")
    group.add_argument("--region", metavar="U0,V0,U1,V1", help="grasp centres only inside this rectangle, pixels")
    group.add_argument("--point", metavar="U,V", help="a pixel of the one thing that is wanted, in place of --goal")
    group.add_argument(
        "--action", action="store_true", help="say what to do next to get it: grasp it, lift a neighbour away, or push"
    )
    group.add_argument(
        "--bin",
        metavar="true|false|JSON|FILE",
        help="plan inside the bin that is seen (true), or that stands where corners and wall_height say; false: there is none",
    )
    group.add_argument(
        "--approach",
        metavar="X,Y,Z[,ANGLE]|camera[,ANGLE]",
        help="directions that the hand may come along: within ANGLE rad (default 0.35) of an axis in the base frame, or of the "
        "camera's",
    )
    group.add_argument(
        "--reach",
        action=argparse.BooleanOptionalAction,
        help="refuse what the arm cannot get to (default: where the server knows an arm and --camera-pose is given)",
    )
    group.add_argument(
        "--gripper",
        "--gripper-json",  # as it was called while names were not taken
        metavar="NAME|JSON|FILE",
        help="the hand: a name from GET /grippers, or sizes in metres; omitted fields are those of the Franka Panda hand",
    )
    group.add_argument(
        "--failed",
        action="append",
        metavar="U,V[,ANGLE[,DEPTH[,QUALITY]]]",
        help="a grasp that failed here: look elsewhere; repeatable",
    )
    group.add_argument(
        "--explain", action="store_true", help="also refused grasps nearest to what was asked, why, and which part meets what"
    )
    group.add_argument("--seed", type=int, metavar="N", help="makes sampling planners repeatable")


def _add_server(group: argparse._ArgumentGroup) -> None:
    url = os.environ.get("SERVER_URL", DEFAULT_URL)
    group.add_argument("--url", default=url, help=f"default: $SERVER_URL, else {DEFAULT_URL}")
    group.add_argument("--api-key", default=os.environ.get("API_KEY"), metavar="KEY", help="default: $API_KEY")
    group.add_argument(
        "--deadline",
        type=float,
        default=DEFAULT_DEADLINE,
        metavar="S",
        help=f"seconds to wait at most (default {DEFAULT_DEADLINE:g})",
    )


def _add_outputs(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--overlay",
        metavar="OUT.png",
        help="picture of the grasps (default: IMAGE's name with _grasps.png, here; `none`: no picture); of several: a folder",
    )
    group.add_argument("--heatmap", type=Path, metavar="OUT.png", help="also ask for the planner's heat map and write it here")
    group.add_argument(
        "--view", nargs="?", type=Path, const=Path("-"), metavar="OUT.html",
        help="three dimensions as one page, opened in the browser; or written to OUT.html",
    )  # fmt: skip
    group.add_argument("--ply", type=Path, metavar="OUT.ply", help="cloud and hands, for CloudCompare, MeshLab, Open3D")
    group.add_argument("--glb", type=Path, metavar="OUT.glb", help="cloud and hands as binary glTF, for Blender and viewers")
    group.add_argument("--json", action="store_true", help="print the server's reply as JSON instead of a table")
