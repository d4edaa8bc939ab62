"""How long one server plans, and what a request costs beside the plan."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np

from benchmarks.compare import images
from benchmarks.compare.forty import recorded
from benchmarks.compare.requests import LARGE, clutter, form
from benchmarks.compare.trees import Tree
from benchmarks.serving.gpu_like import SIZE
from benchmarks.serving.load import one_by_one, post, run
from benchmarks.serving.parts import request
from benchmarks.serving.servers import Server, graspserver

STAND_IN = "gpu-like"
"""Model of the planner `gpu_like`, whose plans take the same time in every tree: what is left is the serving."""
SMALL = (120, 160)
REQUESTS = {
    "antipodal": "antipodal raw uint16",
    "dense": "dense raw uint16",
    "ensemble": "ensemble",
    "fc_gqcnn": "fc_gqcnn raw float32",
    "gqcnn": "gqcnn raw uint16",
    "heatmap": "heatmap colour and table",
    "suction": "suction raw uint16",
    "suction_dense": "suction_dense raw float32",
    "suction_gqcnn": "suction_gqcnn",
}
"""The recorded request that each planner is timed with."""
GOAL = 3
"""The thing of the recorded clutter that is wanted."""
OVERHEADS = {f"{size[1]}x{size[0]}": size for size in (SMALL, SIZE)}


@contextmanager
def serving(tree: Tree) -> Iterator[Server]:
    """A server of the tree with its own models and the stand-in's, which looks for no newer ones."""
    with TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        shutil.copytree(tree.root / "models", models)
        _add_stand_in(models)
        with graspserver(models, tree.path, device="cpu", deadline_ms=60_000, reload_seconds=3600) as server:
            yield server


def plan_ms(server: Server, planner: str, seconds: float) -> float:
    """Median of the plan times that the replies name, over as many requests as fit into `seconds`, at least one; ms."""
    [asking] = [each for each in recorded() if each.name == REQUESTS[planner]]
    answers = run(one_by_one(server.port, post(asking.path, asking.body, asking.headers), seconds))
    return float(np.median([reply["timings_ms"]["plan"] for _, reply in answers]))


def decision_ms(server: Server, seconds: float) -> float:
    """Median of what `POST /predict_action` takes by its client's clock, 640 x 480, where neighbours' grasps and pushes are
    looked for too; of a tree that has no actions, what the plan of `dense` of the same image takes; ms."""
    view = clutter(4, LARGE)
    depth = images.millimetres(images.noisy(view.depth, 4))
    own = {"goal": (view.shows == GOAL).astype(np.uint8)}
    options = view.known(push={"threshold": 1.0}, seed=0)
    asking = form("decision", "dense", {"depth": depth, **own}, options, path="/predict_action", npys=("depth", "goal"))
    if httpx.post(f"http://127.0.0.1:{server.port}/predict_action").status_code == httpx.codes.NOT_FOUND:
        asking = form("plan", "dense", {"depth": depth}, view.known(), npys=("depth",))
    answers = run(one_by_one(server.port, post(asking.path, asking.body, asking.headers), seconds))
    return float(np.median([took for took, _ in answers]))


def tilted_ms(server: Server, seconds: float) -> float:
    """Median of the plan times of `tilted`, 640 x 480, four directions; of a tree that has no such planner, of `dense`; ms."""
    view = clutter(4, LARGE)
    depth = images.millimetres(images.noisy(view.depth, 4))
    planners = {each["name"] for each in httpx.get(f"{server.url}/planners").json()["planners"]}
    planner = "tilted" if "tilted" in planners else "dense"
    asking = form("plan", planner, {"depth": depth}, view.known(), npys=("depth",))
    answers = run(one_by_one(server.port, post(asking.path, asking.body, asking.headers), seconds))
    return float(np.median([reply["timings_ms"]["plan"] for _, reply in answers]))


def overhead_ms(server: Server, size: str, seconds: float) -> float:
    """Median of a client's clock minus the plan time, raw depth of a size in `OVERHEADS`; ms."""
    answers = run(one_by_one(server.port, request("gpu_like", OVERHEADS[size]), seconds))
    return float(np.median([took - reply["timings_ms"]["plan"] for took, reply in answers]))


def cpu_ms(server: Server, size: str, seconds: float) -> float:
    """CPU time of the server per request whose plan takes none; ms. It hardly feels what else the machine does."""
    used = _cpu_seconds(server.process.pid)
    answers = run(one_by_one(server.port, request("gpu_like", OVERHEADS[size]), seconds))
    return 1e3 * (_cpu_seconds(server.process.pid) - used) / len(answers)


def _cpu_seconds(process: int) -> float:
    """CPU time of all threads of a process, by the scheduler's clock: `/proc/*/stat` counts in steps of 10 ms."""
    threads = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def _add_stand_in(models: Path) -> None:
    """A copy of `dense` under the stand-in's name; its network is loaded but never used."""
    dense = models / "dense"
    shutil.copytree(dense / (dense / "champion").read_text().strip(), models / STAND_IN / "1")
    path = models / STAND_IN / "1" / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": STAND_IN, "version": 1}))
    (models / STAND_IN / "champion").write_text("1")
