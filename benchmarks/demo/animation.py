"""Draws a demo's run as an animated picture: `python -m benchmarks.demo.animation --data data/demo --out docs/loop.gif`.

Each frame shows a best grasp that the loop executed, green if the hammer was lifted, and how success went until then.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.demo.__main__ import REPORT
from benchmarks.demo.plot import curve
from grasp_client.contract import GraspMeta, Gripper, Outcome
from grasp_client.drawing import depth_picture, draw_grasps
from shared.shards import ShardReader, shard_folders
from trainer_job.evaluation.figures import new_figure

SIDE, WIDTH = 200, 320
"""Pixels of the square picture of a grasp, and of the curve beside it."""
CROP = 150
"""Pixels of the depth image around the grasp that are shown."""
BORDER = 6
GREEN, RED = (30, 150, 70), (200, 50, 40)
FRAME_MS, LAST_MS, COLOURS = 500, 4000, 32


def best_grasps(data: Path) -> list[tuple[int, Outcome[GraspMeta]]]:
    """(number of the attempt, outcome) of all best grasps of a version, in the order of their time."""
    found = [outcome for folder in shard_folders(data / "shards") for _, outcome in ShardReader(folder).of_kind(GraspMeta)]
    found.sort(key=lambda outcome: outcome.meta.time or 0.0)
    return [(k, each) for k, each in enumerate(found) if not each.meta.exploration and each.meta.model]


def grasp_picture(outcome: Outcome[GraspMeta]) -> Image.Image:
    """The grasp on its depth image, framed by what came of it."""
    meta, spec = outcome.meta, outcome.meta.images["depth"]
    depth = np.asarray(outcome.images["depth"], np.float32) * (spec.scale or 1.0)
    assert meta.camera is not None
    drawn = draw_grasps(depth_picture(depth), [meta.grasp], meta.gripper or Gripper(), meta.camera, zoom=1)
    u, v = (round(value) for value in meta.grasp.center_px)
    half = CROP // 2
    padded = np.pad(drawn, ((half, half), (half, half), (0, 0)), mode="edge")
    cut = Image.fromarray(padded[v : v + CROP, u : u + CROP]).resize((SIDE - 2 * BORDER,) * 2, Image.Resampling.BILINEAR)
    framed = Image.new("RGB", (SIDE, SIDE), GREEN if meta.success else RED)
    framed.paste(cut, (BORDER, BORDER))
    return framed


def curve_picture(grasps: list[tuple[int, Outcome[GraspMeta]]], until: int, most: int) -> Image.Image:
    """Success of each version, of the attempts up to number `until` of `most`."""
    versions: dict[int, list[tuple[int, bool]]] = {}
    for number, outcome in grasps:
        if number <= until and outcome.meta.model and outcome.meta.model.version:
            versions.setdefault(outcome.meta.model.version, []).append((number, outcome.meta.success))
    figure = new_figure(WIDTH / 100, SIDE / 100)
    axes = figure.subplots()
    for version, attempts in sorted(versions.items()):
        numbers, rates, _ = curve(attempts)
        axes.plot(numbers, rates, label=f"version {version}")
    axes.set(xlim=(0, most), ylim=(0, 1), xlabel="attempts", ylabel="lifted")
    axes.grid(alpha=0.3)
    if versions:
        axes.legend(loc="upper left", fontsize=8)
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])  # type: ignore[attr-defined]


def animate(data: Path, path: Path, frames: int) -> None:
    """Writes the GIF: half of its frames before the new version served, half after."""
    grasps = best_grasps(data)
    report = json.loads((data / REPORT).read_bytes())
    most, shown = grasps[-1][0], []
    for when in ("before", "after"):
        its = [each for each in grasps if each[1].meta.model and each[1].meta.model.version == report[when]["version"]]
        shown += [its[k] for k in np.linspace(0, len(its) - 1, frames // 2).round().astype(int)]
    pictures = []
    for number, outcome in sorted(shown, key=lambda each: each[0]):
        frame = Image.new("RGB", (SIDE + WIDTH, SIDE), "white")
        frame.paste(grasp_picture(outcome), (0, 0))
        frame.paste(curve_picture(grasps, number, most), (SIDE, 0))
        assert outcome.meta.model is not None
        ImageDraw.Draw(frame).text((BORDER + 4, BORDER + 2), f"attempt {number}, version {outcome.meta.model.version}", "white")
        pictures.append(frame.quantize(COLOURS))
    times = [FRAME_MS] * (len(pictures) - 1) + [LAST_MS]
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=times, loop=0, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.demo.animation", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("data/demo"), help="folder of a demo (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/loop.gif"), help="the picture (default: %(default)s)")
    parser.add_argument("--frames", type=int, default=18)
    options = parser.parse_args()
    animate(options.data, options.out, options.frames)
    print(f"{options.out}, {options.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
