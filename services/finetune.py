"""Trains a model on your own objects and gripper, and says what it gained: `make finetune OBJECTS=folder`.

Grasps of the objects are simulated at their true sizes, half as many of ordinary objects beside them so that those are not
forgotten, and the champion is trained on. Champion and new version are then tried in the same scenes, which nothing was learned
from. All of it lies in a folder named by the contents of the objects, the gripper and the model: a changed file is another
folder, and the same command goes on where it was interrupted.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grasp_client.cli.input_files import read_gripper
from grasp_client.contract import Gripper
from services.finetune_report import measured, print_report, write_pictures
from services.pretrain import run
from services.pretrain_plan import Step
from shared.durable import replace_file
from shared.registry import Registry
from shared.settings import LocalSettings
from sim_worker.world.objects.folder import folder_models, measured_sides
from trainer_job.promotion.publish import REPOSITORY, seed_registry
from trainer_job.tasks import task_of_model
from trainer_job.training.recipe import recipe_of_model

MODELS = ("dense", "suction-dense", "heatmap")
COLLECT_FOR = {
    "heatmap": ("--rgb", "--flat=20", "--random=0", "--edges=0", "--feasible=0", "--on-policy=0"),
    "suction-dense": ("--planner=suction", "--feasible-planner=suction"),
}
"""Options of a collection for models that do not learn from jaws on depth."""
REPORT = "finetune.json"
ORDINARY_SHARE = 0.5
"""Grasps of ordinary objects for each one of the user's."""


def folder_of(root: Path, model: str, objects: Path, gripper: Gripper) -> Path:
    """The folder of these very objects, this gripper and this model."""
    digest = hashlib.sha256(gripper.model_dump_json().encode())
    for path in sorted(path for path in objects.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(objects)).encode() + hashlib.sha256(path.read_bytes()).digest())
    return root / f"{model}-{objects.resolve().name}-{digest.hexdigest()[:8]}"


def sizes(objects: Path, gripper: Gripper) -> list[str]:
    """A line for each object: its sides in mm, and whether the jaw opens wide enough for it. Raises ValueError for a file that
    cannot be used."""
    lines = []
    for name, model in folder_models(objects).items():
        sides = np.sort(measured_sides(model))
        told = " x ".join(f"{1000 * side:.0f}" for side in sides[::-1])
        wide = gripper.kind == "parallel_jaw" and sides[0] > gripper.max_width
        opening = f"   wider than the opening of {1000 * gripper.max_width:.0f} mm on every side: no grasp will be found"
        lines.append(f"  {name.removeprefix('folder/'):24} {told} mm{opening if wide else ''}")
    return lines


def steps(folder: Path, options: argparse.Namespace) -> list[Step]:
    """The commands: collect the objects, collect ordinary ones, train."""
    model, gripper = options.model, str(folder / "gripper.json")
    common = [f"--gripper={gripper}", f"--models-dir={options.models_dir}", f"--workers={options.workers}"]
    common += COLLECT_FOR.get(model, ())

    def collect(name: str, attempts: int, *more: str) -> Step:
        out = f"--out={folder / name}"
        arguments = (out, f"--attempts={attempts}", *common, *more)
        return Step(f"collect {name}", frozenset({model}), "sim_worker.collect", arguments, {"OMP_NUM_THREADS": "1"})

    parts = ("objects", "ordinary")
    data = ["--shards", *(str(folder / name) for name in parts)]
    train = ("--name", model, "--warm", *data, "--models-dir", str(options.models_dir), "--cache", str(folder / "cache"))
    train += ("--log-format", "text")  # a person reads it, into whatever it is piped
    return [
        collect(parts[0], options.attempts, f"--objects-dir={folder / 'files'}"),
        collect(parts[1], max(1, round(ORDINARY_SHARE * options.attempts))),
        Step("train", frozenset({model}), "trainer_job.train", (*train, "--out", str(folder / f"run-{options.attempts}"))),
    ]


def parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("grasploop finetune", description=__doc__, formatter_class=raw)
    add = parser.add_argument
    data = LocalSettings().data_dir
    models = data / "models"
    add("--objects", type=Path, required=True, help="folder of URDF, OBJ or STL files (metres, or millimetres)")
    add("--gripper", help="name of a hand, or JSON file with its sizes; none: Franka Panda hand, suction_15mm for cups")
    add("--model", default="dense", choices=MODELS, help="what is trained (default: %(default)s)")
    add("--attempts", type=int, default=2000, help="simulated grasps of the objects (default: %(default)s)")
    add("--scenes", type=int, default=200, help="scenes of the test before and after (default: %(default)s)")
    add("--models-dir", type=Path, default=models, help="registry that is trained on and published into (default: %(default)s)")
    add("--out", type=Path, default=data / "finetune", help="where the folder is made (default: %(default)s)")
    add("--workers", type=int, default=os.cpu_count() or 1, help="processes that collect (default: %(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        return finetune(parser().parse_args(arguments))
    except (ValueError, OSError) as error:
        print(f"finetune: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def finetune(options: argparse.Namespace) -> int:
    """Collects, trains, tests and tells. Raises ValueError or OSError for objects or a gripper that cannot be used."""
    cup = options.model == "suction-dense"
    gripper = read_gripper(options.gripper or ("suction_15mm" if cup else "franka_hand"))
    if (gripper.kind == "suction") != cup:
        raise ValueError(f"{options.model} plans for {'a cup' if cup else 'a jaw'}, and --gripper is none")
    lines = sizes(options.objects, gripper)
    folder = folder_of(options.out, options.model, options.objects, gripper)
    print(f"{len(lines)} objects, at their true sizes:", *lines, f"folder: {folder}", sep="\n", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "files").exists():  # what is learned from stays what it was, whatever is edited later
        draft = folder / ".files"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(options.objects, draft)
        draft.rename(folder / "files")
    replace_file(folder / "gripper.json", gripper.model_dump_json(exclude_unset=True).encode())
    before, after, status = trained(options, folder)
    if status or before is None or after is None:
        return status or 1
    print(f"trying versions {before} and {after} in the same scenes, some {options.scenes} of them ...", flush=True)
    found = measured(planner_of(options.model), options.models_dir, (before, after), folder / "files", gripper, options.scenes)
    report = {"model": options.model, **found.figures}
    replace_file(folder / REPORT, json.dumps({"before": before, "after": after, "report": report}, indent=1).encode())
    page = write_pictures(folder / "pictures", found, gripper)
    print_report(report, Registry(options.models_dir), page)
    return 0


def planner_of(model: str) -> str:
    return recipe_of_model(model).planner or "auto"


def trained(options: argparse.Namespace, folder: Path) -> tuple[int | None, int | None, int]:
    """(champion before, version that was trained, exit status) of the steps; those that are done are not done again."""
    registry, note = Registry(options.models_dir), folder / "versions.json"
    if registry.champion(options.model) is None:
        seed_registry(registry, REPOSITORY / "models", task_of_model(options.model), seed=0)
    kept: dict[str, Any] = json.loads(note.read_bytes()) if note.exists() else {}
    known = registry.versions(options.model)
    before = registry.champion(options.model)
    if status := run(steps(folder, options), folder):
        return before, None, status
    if new := [version for version in registry.versions(options.model) if version not in known]:
        kept = {"before": before, "after": new[-1]}
        replace_file(note, json.dumps(kept).encode())
    if not kept:
        raise ValueError(f"{note} is gone: remove {folder}, and begin anew")
    return kept["before"], kept["after"], 0


if __name__ == "__main__":
    sys.exit(main())
