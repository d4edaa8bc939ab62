"""Pictures of a benchmark: a page of failures, and episodes as GIF."""

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from grasp_client.contract import Grasp, Gripper
from grasp_client.drawing import depth_picture, draw_grasps
from sim_worker.benchmark.trials import Trial
from sim_worker.tasks.decluttering import NO_PLAN, Pick
from sim_worker.world import CameraView

ZOOM = 2
CAPTION_HEIGHT = 18
FRAME_MS = 900

_PAGE = """<!doctype html><meta charset="utf-8"><title>Failures</title>
<style>body{{font:14px system-ui;margin:2em;max-width:1500px}} figure{{display:inline-block;margin:0 1em 1em 0}}
img{{image-rendering:pixelated;display:block}} figcaption{{max-width:960px;padding:.3em 0}}</style>
<h1>{title}</h1><p>Left: colour. Right: the depth that was planned on, with the executed grasp (black: no reading).</p>{body}"""


def picture(view: CameraView, tried: Sequence[Grasp], gripper: Gripper, zoom: int = ZOOM) -> np.ndarray:
    """Colour and depth side by side with the grasps that were tried: (H, W, 3) uint8."""
    pictures = [view.rgb, depth_picture(np.asarray(view.observation.depth))]
    return np.hstack([draw_grasps(each, tried, gripper, view.camera, zoom=zoom) for each in pictures])


def write_failures(folder: Path, trials: Iterable[Trial], gripper: Gripper, title: str, most: int = 200) -> int:
    """Write `index.html` and a picture of each failed attempt and of each scene without a plan (at most `most`) into `folder`;
    returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    found: list[tuple[str, str, CameraView, list[Grasp], str]] = [
        (trial.planner, pick.result.failure or "", pick.view, [pick.grasp], _caption(trial, pick))
        for trial in trials
        for pick in trial.picks
        if pick.view and not pick.result.success
    ]
    found += [
        (trial.planner, NO_PLAN, trial.log.unplanned, [], _no_plan_caption(trial)) for trial in trials if trial.log.unplanned
    ]
    found.sort(key=lambda each: each[:2])
    figures = []
    for index, (_, _, view, tried, caption) in enumerate(found[:most]):
        name = f"{index:03d}.png"
        Image.fromarray(picture(view, tried, gripper)).save(folder / name)
        figures.append(f'<figure><img src="{name}" loading="lazy"><figcaption>{html.escape(caption)}</figcaption></figure>')
    note = f"<p>{len(found)} failures, {len(figures)} shown.</p>"
    (folder / "index.html").write_text(_PAGE.format(title=html.escape(title), body=note + "".join(figures)), encoding="utf-8")
    return len(figures)


def write_gif(path: Path, trials: Sequence[Trial], gripper: Gripper, most: int = 40) -> int:
    """One frame per attempt, in order, with what came of it; returns the number of frames (at most `most`)."""
    shown = [(trial, pick) for trial in trials for pick in trial.picks][:most]
    if not shown:
        return 0
    frames = [
        _captioned(picture(pick.view, [pick.grasp], gripper, 1), _caption(trial, pick), pick.result.success)
        for trial, pick in shown
        if pick.view
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=FRAME_MS, loop=0)
    return len(frames)


def _caption(trial: Trial, pick: Pick) -> str:
    outcome = "success" if pick.result.success else str(pick.result.failure)
    met = f" with {pick.result.object_name}" if pick.result.failure == "collision" and pick.result.object_name else ""
    width = f", {pick.grasp.width * 1000:.0f} mm" if pick.grasp.width else ""
    return (
        f"{trial.planner}: {outcome}{met} on {pick.object or 'nothing'}, quality {pick.grasp.quality:.2f}{width}, "
        f"scene {trial.scene_seed}, attempt {pick.number + 1}"
    )


def _no_plan_caption(trial: Trial) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(trial.log.rejections.items()) if count)
    left = f"{trial.log.count('left')} objects ({reasons or 'no reason given'})"
    return f"{trial.planner}: no plan for {left}, scene {trial.scene_seed}"


def _captioned(picture: np.ndarray, text: str, success: bool) -> Image.Image:
    frame = Image.new("RGB", (picture.shape[1], picture.shape[0] + CAPTION_HEIGHT), "white")
    frame.paste(Image.fromarray(picture), (0, 0))
    ImageDraw.Draw(frame).text((4, picture.shape[0] + 2), text, fill=(20, 130, 50) if success else (190, 30, 30))
    return frame.quantize(64)
