"""Pictures of a benchmark: a page of failures, and episodes as GIF."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from shared.contract import Gripper
from shared.drawing import depth_picture, draw_grasps
from sim_worker.tasks.clearing import Pick
from sim_worker.trials import Trial

ZOOM = 2
CAPTION_HEIGHT = 18
FRAME_MS = 900

_PAGE = """<!doctype html><meta charset="utf-8"><title>Failures</title>
<style>body{{font:14px system-ui;margin:2em;max-width:1500px}} figure{{display:inline-block;margin:0 1em 1em 0}}
img{{image-rendering:pixelated;display:block}} figcaption{{max-width:960px;padding:.3em 0}}</style>
<h1>{title}</h1><p>Left: colour. Right: the depth that was planned on, with the executed grasp (black: no reading).</p>{body}"""


def pick_picture(pick: Pick, gripper: Gripper, zoom: int = ZOOM) -> np.ndarray:
    """Colour and depth side by side with the executed grasp: (H, W, 3) uint8."""
    observation, camera = pick.view.observation, pick.view.camera
    pictures = [depth_picture(np.asarray(observation.depth))]
    if observation.rgb is not None:
        pictures.insert(0, observation.rgb)
    return np.hstack([draw_grasps(picture, [pick.grasp], gripper, camera, zoom=zoom) for picture in pictures])


def write_failures(folder: Path, trials: Iterable[Trial], gripper: Gripper, title: str, most: int = 200) -> int:
    """Write `index.html` and a picture of each failed attempt (at most `most`) into `folder`; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    failed = [(trial, pick) for trial in trials for pick in trial.picks if not pick.result.success]
    failed.sort(key=lambda each: (each[0].planner, each[1].result.failure or ""))
    figures = []
    for index, (trial, pick) in enumerate(failed[:most]):
        name = f"{index:03d}.png"
        Image.fromarray(pick_picture(pick, gripper)).save(folder / name)
        caption = html.escape(_caption(trial, pick))
        figures.append(f'<figure><img src="{name}" loading="lazy"><figcaption>{caption}</figcaption></figure>')
    note = f"<p>{len(failed)} failed attempts, {len(figures)} shown.</p>"
    (folder / "index.html").write_text(_PAGE.format(title=html.escape(title), body=note + "".join(figures)), encoding="utf-8")
    return len(figures)


def write_gif(path: Path, trials: Sequence[Trial], gripper: Gripper, most: int = 40) -> int:
    """One frame per attempt, in order, with what came of it; returns the number of frames (at most `most`)."""
    shown = [(trial, pick) for trial in trials for pick in trial.picks][:most]
    if not shown:
        return 0
    frames = [_captioned(pick_picture(pick, gripper, 1), _caption(trial, pick), pick.result.success) for trial, pick in shown]
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


def _captioned(picture: np.ndarray, text: str, success: bool) -> Image.Image:
    frame = Image.new("RGB", (picture.shape[1], picture.shape[0] + CAPTION_HEIGHT), "white")
    frame.paste(Image.fromarray(picture), (0, 0))
    ImageDraw.Draw(frame).text((4, picture.shape[0] + 2), text, fill=(20, 130, 50) if success else (190, 30, 30))
    return frame.quantize(64)
