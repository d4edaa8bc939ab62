"""`grasploop predict IMAGE ...`: send images to the server, print their grasps, draw them."""

import argparse
import base64
import json
import os
import sys
import tempfile
import warnings
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from grasp_client.cli.camera_files import read_camera
from grasp_client.cli.input_files import (
    images_in,
    read_approach,
    read_bin,
    read_failed,
    read_gripper,
    read_image,
    read_mask,
    read_pixel,
    read_place,
    read_pose,
    read_region,
    read_rgb,
    read_views,
)
from grasp_client.cli.plan_table import action_table, as_plan, plan_table, plans_table
from grasp_client.cli.scene_files import Source, read_cloud, read_scene, segments_in
from grasp_client.client import DEFAULT_DEADLINE, DEFAULT_URL, GraspClient
from grasp_client.cloud_picture import CloudPicture
from grasp_client.contract import ActionPlan, ActionRequest, GraspPlan, PlanRequest, plain_message
from grasp_client.drawing import depth_picture, draw_grasps
from grasp_client.errors import GraspServerError
from grasp_client.imaging import encode_png_rgb
from grasp_client.input_warnings import InputWarning
from grasp_client.inputs import action_request_of, observe, request_of, several_views
from grasp_client.observation import Observation
from grasp_client.viewer import glb_bytes, ply_bytes, scene_of, view_page

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
_PICTURE_SIDE = 960
_BAR = 24


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    warnings.simplefilter("ignore", InputWarning)  # the answer prints them
    try:
        images = [source for path in images_in(arguments.images) for source in segments_in(path)]
        if not images and not arguments.rgb and not arguments.views:
            raise ValueError("expected IMAGE, a file or a folder of them, or --rgb FILE, or --views FILE")
        if images and arguments.views:
            raise ValueError("the depth images of --views stand in its file: leave IMAGE out")
        # Two retries only: somebody is waiting to hear that no server runs.
        client = GraspClient(arguments.url, api_key=arguments.api_key, deadline=arguments.deadline, attempts=3)
    except ValueError as error:
        return _fail(2, str(error))
    with client:
        return _predict_one(client, arguments, images) if len(images) <= 1 else _predict_all(client, arguments, images)


def _predict_one(client: GraspClient, arguments: argparse.Namespace, images: list[Source]) -> int:
    try:
        observation, request = _inputs(arguments, images[0] if images else None)
        action = client.plan_action(observation, request) if isinstance(request, ActionRequest) else None
        plan = as_plan(action) if action else client.plan(observation, request)
    except (ValidationError, ValueError, GraspServerError) as error:
        return _fail(*problem_of(error))
    answer = action or plan
    _print_answer(answer.model_dump_json(indent=2) if arguments.json else action_table(action) if action else plan_table(plan))
    overlay = Path(arguments.overlay or f"{(images[0] if images else arguments.views or arguments.rgb).stem}_grasps.png")
    status = _write_pictures(arguments, None if arguments.overlay == "none" else overlay, observation, request, plan, action)
    return status or _write_scenes(arguments, observation, request, plan)


def _predict_all(client: GraspClient, arguments: argparse.Namespace, images: list[Source]) -> int:
    """One row each; what cannot be read or is refused becomes a row too. `--overlay` names a folder."""
    rows: list[tuple[Source, GraspPlan | str]] = []
    status = 0
    folder = None if arguments.overlay in (None, "none") else Path(arguments.overlay)
    single = ("rgb", "segmask", "goal", "point", "action", "heatmap", "scene_points", "view", "ply", "glb")
    if given := [f"--{name.replace('_', '-')}" for name in single if getattr(arguments, name)]:
        return _fail(2, f"{' and '.join(given)} go with one IMAGE")
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    for path in _with_progress(images):
        try:
            observation, request = _inputs(arguments, path)
            plan = client.plan(observation, request)
            if folder:
                status |= _write_pictures(arguments, folder / f"{path.stem}_grasps.png", observation, request, plan, quiet=True)
        except (ValidationError, ValueError, GraspServerError) as error:
            failed, message = problem_of(error)
            status = max(status, failed)
            rows.append((path, message))
            continue
        rows.append((path, plan))
    if arguments.json:
        _print_answer("\n".join(_json_line(path, found) for path, found in rows))
    else:
        _print_answer(plans_table(rows))
    return status


def _with_progress(images: list[Source]) -> Iterator[Source]:
    """The images, with a bar on a terminal's stderr."""
    for done, path in enumerate(images):
        if sys.stderr.isatty():
            filled = _BAR * done // len(images)
            print(
                f"\r[{'#' * filled}{'.' * (_BAR - filled)}] {done}/{len(images)} {path.name:.40}\033[K", end="", file=sys.stderr
            )
        yield path
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)


def _json_line(source: Source, found: GraspPlan | str) -> str:
    answer = {"error": found} if isinstance(found, str) else found.model_dump(mode="json")
    segment = {} if source.segment is None else {"segment": source.segment}
    return json.dumps({"file": str(source.path), **segment, **answer})


def problem_of(error: Exception) -> tuple[int, str]:
    """Exit status and message."""
    if isinstance(error, ValidationError):
        return 2, f"{error.title}: " + "; ".join(_reason(problem) for problem in error.errors())
    return (1, f"{error.message} [{error.code}]") if isinstance(error, GraspServerError) else (2, str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grasploop predict",
        usage="%(prog)s IMAGE [IMAGE ...] [options]",
        description="Send depth or colour images to a GraspLoop server, print the ranked grasps, and draw them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_images(parser.add_argument_group("images, all of the same size"))
    _add_camera(parser.add_argument_group("camera (without it the answer is in pixels only)"))
    _add_options(parser.add_argument_group("what to plan"))
    _add_server(parser.add_argument_group("server"))
    _add_outputs(parser.add_argument_group("output"))
    return parser


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


def _inputs(arguments: argparse.Namespace, source: Source | None) -> tuple[Observation, PlanRequest]:
    path, options, made = source and source.path, _options(arguments), action_request_of if arguments.action else request_of
    if source and (scene := read_scene(source)):
        arrays, told = scene
        return observe(depth_scale=arguments.depth_scale, **arrays), made(**{**told, **options})
    if path and (points := read_cloud(path)) is not None:
        around = arguments.scene_points and read_cloud(arguments.scene_points)
        return observe(points=points, scene_points=around), made(**options)
    segmask, goal = (read_mask(mask, what) if (mask := getattr(arguments, what)) else None for what in ("segmask", "goal"))
    if arguments.views:
        depths, views = read_views(arguments.views, arguments.depth_scale)
        rgb = read_rgb(arguments.rgb) if arguments.rgb else None
        return several_views(depths, views, rgb=rgb, segmask=segmask, goal=goal), made(views=views, **options)
    kind, image = read_image(path, arguments.depth_scale) if path else ("none", None)
    if arguments.rgb and kind == "rgb":
        raise ValueError(f"{path} is already a colour image: give the depth image as IMAGE, or leave --rgb out")
    rgb = read_rgb(arguments.rgb) if arguments.rgb else image if kind == "rgb" else None
    depth = image if kind == "depth" else None
    return observe(depth, rgb, segmask, goal=goal), made(**options)


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    options = {
        "camera": arguments.intrinsics and read_camera(arguments.intrinsics),
        "camera_pose": arguments.camera_pose and read_pose(arguments.camera_pose),
        "region": arguments.region and read_region(arguments.region),
        "viewpoint": arguments.viewpoint and read_place(arguments.viewpoint),
        "point": arguments.point and read_pixel(arguments.point),
        "bin": arguments.bin and read_bin(arguments.bin),
        "approach": arguments.approach and read_approach(arguments.approach),
        "gripper": arguments.gripper and read_gripper(arguments.gripper),
        "failed": arguments.failed and [read_failed(given) for given in arguments.failed],
        "return_heatmap": bool(arguments.heatmap),
        "explain": arguments.explain,
    }
    for name in ("table_depth", "depth_scale", "planner", "model_version", "n_grasps", "min_quality", "seed", "reach"):
        options[name] = getattr(arguments, name)
    return {name: value for name, value in options.items() if value is not None}


def _write_pictures(
    arguments: argparse.Namespace,
    overlay: Path | None,
    observation: Observation,
    request: PlanRequest,
    plan: GraspPlan,
    action: ActionPlan | None = None,
    quiet: bool = False,
) -> int:
    pictures = {overlay: encode_png_rgb(_overlay(observation, request, plan, action))} if overlay else {}
    if arguments.heatmap and plan.heatmap_png:
        pictures[arguments.heatmap] = base64.b64decode(plan.heatmap_png)
    elif arguments.heatmap:
        print(f"planner {plan.planner} has no heat map; {arguments.heatmap} is not written", file=sys.stderr)
    for path, png in pictures.items():
        try:
            path.write_bytes(png)
        except OSError as error:
            return _fail(2, f"{path} cannot be written: {error.strerror}")
        if not quiet:
            print(f"wrote {path}", file=sys.stderr)
    return 0


def _write_scenes(arguments: argparse.Namespace, observation: Observation, request: PlanRequest, plan: GraspPlan) -> int:
    if not (arguments.view or arguments.ply or arguments.glb):
        return 0
    if observation.points is None and (observation.depth is None or request.camera is None):
        return _fail(2, "--view, --ply and --glb need a depth image and --intrinsics, or a cloud")
    scene = scene_of(observation, request.camera, plan.grasps, request.gripper, plan.refused or ())
    page = arguments.view
    if page == Path("-"):
        page = Path(tempfile.mkdtemp(prefix="grasploop-")) / "grasps.html"
    written = {arguments.ply: ply_bytes, arguments.glb: glb_bytes}
    files = {path: make(scene) for path, make in written.items() if path}
    if page:
        files[page] = view_page(scene, f"{len(plan.grasps)} grasps by {plan.planner}").encode()
    for path, data in files.items():
        try:
            path.write_bytes(data)
        except OSError as error:
            return _fail(2, f"{path} cannot be written: {error.strerror}")
        print(f"wrote {path}", file=sys.stderr)
    if arguments.view == Path("-") and not webbrowser.open(page.as_uri()):
        print(f"no browser could be started here: open {page} in one", file=sys.stderr)
    return 0


def _overlay(observation: Observation, request: PlanRequest, plan: GraspPlan, action: ActionPlan | None) -> Any:
    if observation.points is not None:
        up = (0.0, 0.0, -1.0) if request.camera_pose is None else request.camera_pose[2][:3]
        around = observation.points if observation.scene_points is None else observation.scene_points
        seen = CloudPicture(around, up)
        refused = seen.seen(plan.refused or ())
        return draw_grasps(depth_picture(seen.depth), seen.seen(plan.grasps), request.gripper, seen.camera, 2, refused)
    picture = observation.rgb
    if picture is None:
        assert observation.depth is not None
        picture = depth_picture(observation.depth)
    pushes = action.pushes if action and action.action == "push" else ()
    zoom = max(1, round(_PICTURE_SIDE / max(observation.size)))
    return draw_grasps(picture, plan.grasps, request.gripper, request.camera, zoom, plan.refused or (), pushes)


def _reason(problem: Any) -> str:
    """One problem that pydantic found, without pydantic's words."""
    field = ".".join(str(part) for part in problem["loc"])
    return f"{field}: {plain_message(problem)}".removeprefix(": ")


def _print_answer(answer: str) -> None:
    """Prints the answer. Who reads only its head (`| head`) has what they wanted: the pictures are still to be drawn."""
    try:
        print(answer, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(status: int, message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status
