"""`python -m benchmarks.gallery FOLDER`: what the shipped planners answer to pictures, on one page to look through.

A picture is `NAME_depth_K.npy`, with `_color_` and an `.intr` and `.tf` file beside it where there are some; or a folder with
`depth` or `rgb` (any format that is read), `segmask` and the options as `request.json`. Where colours lie beside a depth image,
the page shows also what is answered to them alone, with the camera and the median depth as the table's distance.
"""

from __future__ import annotations

import argparse
import html
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from rich.progress import track

from grasp_client.cli.camera_files import read_camera
from grasp_client.cli.input_files import read_mask, read_pose, read_rgb
from grasp_client.contract import GraspPlan, PlanRequest, plain_message
from grasp_client.drawing import depth_picture, draw_grasps
from grasp_client.geometry import resize_camera
from grasp_client.imaging import check_observation, decode_depth, encode_png_rgb
from grasp_client.observation import Observation
from planning.base import PlanItem, PlannerError
from planning.local import LocalPlanner, local_planner

SIDE = 480
_PAGE = """<!doctype html><meta charset="utf-8"><title>Gallery</title>
<style>body{{font:14px system-ui;margin:2em}}
figure{{display:inline-block;vertical-align:top;width:{side}px;margin:0 1em 1.5em 0}}
img{{width:100%;display:block}} figcaption{{padding:.3em 0}} .odd{{color:#a40}} .none{{color:#666}}</style>
<h1>What is answered to {count} pictures</h1><p>Best grasp first; numbers are predicted probabilities.</p>{body}"""


@dataclass(frozen=True)
class Picture:
    """name: for the page. load: the observation and its options; raises ValueError (ImageError) for what the server refuses."""

    name: str
    load: Callable[[], PlanItem]


def pictures_in(folder: Path) -> Iterator[Picture]:
    """All pictures below a folder, by name."""
    for path in sorted(folder.rglob("*")):
        if path.name == "request.json":
            yield Picture(str(path.parent.relative_to(folder)), partial(_case, path.parent))
        elif path.suffix == ".npy" and "_depth_" in path.name:
            yield Picture(str(path.relative_to(folder)), partial(_captured, path))
            if _colour_of(path).exists() and any(path.parent.glob("*.intr")):
                yield Picture(f"{_colour_of(path).relative_to(folder)}, colour alone", partial(_colour_alone, path))


def _case(folder: Path) -> PlanItem:
    request = PlanRequest.model_validate_json((folder / "request.json").read_bytes())
    files = {path.stem: path for path in folder.iterdir()}
    return Observation(
        decode_depth(files["depth"].read_bytes(), depth_scale=request.depth_scale) if "depth" in files else None,
        read_rgb(files["rgb"]) if "rgb" in files else None,
        read_mask(files["segmask"], "segmask") if "segmask" in files else None,
    ), request


def _colour_of(path: Path) -> Path:
    return path.with_name(path.name.replace("_depth_", "_color_")).with_suffix(".png")


def _colour_alone(path: Path) -> PlanItem:
    depth, rgb = decode_depth(path.read_bytes()), read_rgb(_colour_of(path))
    camera = read_camera(str(next(path.parent.glob("*.intr"))))
    larger = (rgb.shape[axis] / depth.shape[axis] for axis in (1, 0))
    return Observation(rgb=rgb), PlanRequest(
        camera=resize_camera(camera, *larger), table_depth=float(np.median(depth[depth > 0])), planner="heatmap"
    )


def _captured(path: Path) -> PlanItem:
    depth = decode_depth(path.read_bytes())
    camera, pose = next(path.parent.glob("*.intr"), None), next(path.parent.glob("*.tf"), None)
    rgb = read_rgb(_colour_of(path)) if _colour_of(path).exists() else None
    fits = rgb is not None and rgb.shape[:2] == depth.shape
    options = {"camera": camera and read_camera(str(camera)), "camera_pose": pose and read_pose(pose)}
    return Observation(depth, rgb if fits else None), PlanRequest.model_validate(options)


def figure(picture: Picture, planner: Callable[[PlanItem], LocalPlanner], folder: Path, number: int) -> str:
    """Draws the answer into `folder` and returns its part of the page."""
    try:
        item = picture.load()
        check_observation(item[0], item[1].region)
        plan = planner(item).plan(*item)
    except (ValidationError, ValueError, PlannerError) as error:
        text = plain_message(error.errors()[0]) if isinstance(error, ValidationError) else str(error)
        return _figure("", picture, f'<span class="odd">refused: {html.escape(text)}</span>')
    name = f"{number:03d}.png"
    (folder / name).write_bytes(encode_png_rgb(_drawn(item, plan)))
    best = ", ".join(f"{grasp.quality:.2f}" for grasp in plan.grasps[:3])
    counts = ", ".join(f"{reason} {count}" for reason, count in plan.rejections.items())
    answer = f"{plan.planner}: {best}" if best else f'<span class="none">no grasp: {html.escape(counts)}</span>'
    odd = "".join(f'<br><span class="odd">{html.escape(warning)}</span>' for warning in plan.warnings)
    return _figure(f'<img src="{name}" loading="lazy">', picture, answer + odd)


def _figure(image: str, picture: Picture, text: str) -> str:
    return f"<figure>{image}<figcaption>{html.escape(picture.name)}<br>{text}</figcaption></figure>"


def _drawn(item: PlanItem, plan: GraspPlan) -> np.ndarray:
    observation, request = item
    image = observation.rgb if observation.rgb is not None else depth_picture(np.asarray(observation.depth))
    zoom = max(1, round(SIDE / max(observation.size)))
    result: np.ndarray = draw_grasps(image, plan.grasps[:5], request.gripper, request.camera, zoom)
    return result


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gallery", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=Path("data/gallery"), help="folder of the page (default: data/gallery)")
    parser.add_argument("--models", type=Path, default=Path("models"), help="registry of the models (default: models)")
    arguments = parser.parse_args(argv)
    pictures = list(pictures_in(arguments.folder))
    if not pictures:
        print(
            f"error: {arguments.folder} holds no pictures: expected *_depth_*.npy, or folders with request.json",
            file=sys.stderr,
        )
        return 2
    planners = {name: local_planner(name, arguments.models) for name in ("dense", "heatmap", "suction_dense")}

    def planner(item: PlanItem) -> LocalPlanner:
        if item[0].depth is None:
            return planners["heatmap"]
        return planners["suction_dense" if item[1].gripper.kind == "suction" else "dense"]

    arguments.out.mkdir(parents=True, exist_ok=True)
    figures = [figure(picture, planner, arguments.out, number) for number, picture in enumerate(track(pictures))]
    page = arguments.out / "index.html"
    page.write_text(_PAGE.format(side=SIDE, count=len(pictures), body="".join(figures)), encoding="utf-8")
    print(f"{len(pictures)} pictures in {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
