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

from pydantic import BaseModel, ValidationError

from grasp_client import contract
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
from grasp_client.cli.predict_arguments import parser
from grasp_client.cli.scene_files import Source, read_cloud, read_scene, segments_in
from grasp_client.client import GraspClient
from grasp_client.cloud_picture import CloudPicture
from grasp_client.contract import ActionPlan, ActionRequest, GraspPlan, PlanRequest, plain_message
from grasp_client.drawing import depth_picture, draw_grasps
from grasp_client.errors import GraspServerError
from grasp_client.imaging import encode_png_rgb
from grasp_client.input_warnings import InputWarning
from grasp_client.inputs import action_request_of, observe, request_of, several_views
from grasp_client.observation import Observation
from grasp_client.viewer import glb_bytes, ply_bytes, scene_of, view_page

_PICTURE_SIDE = 960
_BAR = 24


def main(argv: list[str] | None = None) -> int:
    arguments = parser().parse_args(argv)
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
    if not action and not plan.grasps and (arguments.goal or arguments.point):
        print("hint: --action says what to lift away or push first to get it", file=sys.stderr)
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
        kind = getattr(contract, error.title, None)
        return 2, f"{error.title}: " + "; ".join(_reason(problem, kind) for problem in error.errors())
    return (1, f"{error.message} [{error.code}]") if isinstance(error, GraspServerError) else (2, str(error))


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


def _reason(problem: Any, kind: type[BaseModel] | None) -> str:
    """One problem that pydantic found, without pydantic's words."""
    field = ".".join(str(part) for part in problem["loc"])
    return f"{field}: {plain_message(problem, kind)}".removeprefix(": ")


def _print_answer(answer: str) -> None:
    """Prints the answer. Who reads only its head (`| head`) has what they wanted: the pictures are still to be drawn."""
    try:
        print(answer, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(status: int, message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status
