"""Every example runs, with small numbers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from places import ROOT
from serving import Running, serving_shipped

pytestmark = pytest.mark.documents

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, module_redis_url: str) -> Iterator[Running]:
    with serving_shipped(tmp_path_factory.mktemp("registry"), redis_url=module_redis_url) as running:
        yield running


def run(script: Path, *arguments: object, **more: Any) -> str:
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_realsense_from_its_recording(server: Running, tmp_path: Path) -> None:
    overlay = tmp_path / "grasps.png"
    recorded = ("--recorded", EXAMPLES / "recorded.npz", "--record", tmp_path / "again.npz")
    said = run(EXAMPLES / "realsense.py", *recorded, "--url", server.url, "--overlay", overlay)
    assert said.count("quality") == 5
    with Image.open(overlay) as drawn:
        assert drawn.size == (320, 240)
    with np.load(EXAMPLES / "recorded.npz") as kept, np.load(tmp_path / "again.npz") as again:
        np.testing.assert_array_equal(kept["depth"], again["depth"])


def test_a_pile_is_picked_through_the_client(server: Running) -> None:
    before = server.service.metrics.text().count(b'reporter="robot"')
    said = run(EXAMPLES / "pick_loop.py", "--url", server.url, "--objects", 2)
    assert "of 2 picked" in said
    assert "promised" in said
    assert server.service.metrics.text().count(b'reporter="robot"') > before


def test_a_planner_of_ones_own_is_trained_and_plans(tmp_path: Path) -> None:
    package = tmp_path / "own_planner"
    shutil.copytree(EXAMPLES / "own_planner", package)
    shards = tmp_path / "shards"
    options = ["--attempts", "160", "--random", "0", "--edges", "0", "--feasible", "20", "--on-policy", "0"]
    collect = [sys.executable, "-m", "sim_worker.collect", *options, "--out", str(shards)]
    subprocess.run(collect, check=True, cwd=ROOT, capture_output=True)
    assert "attempts" in run(package / "train.py", "--shards", shards)
    assert len(json.loads((package / "ranked_planner.json").read_text())["weights"]) == 5
    plans = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np; from PIL import Image\n"
        "from grasp_client.contract import PlanRequest; from grasp_client.observation import Observation\n"
        "from ranked_planner import RankedPlanner\n"
        "depth = np.asarray(Image.open('docs/example/depth.png')).astype(np.float32) / 1000\n"
        "camera = {'fx': 900, 'fy': 900, 'cx': 319.5, 'cy': 239.5}\n"
        "[plan] = RankedPlanner().plan_batch([(Observation(depth), PlanRequest(camera=camera))], None)\n"
        "qualities = [grasp.quality for grasp in plan.grasps]\n"
        "assert plan.planner == 'ranked' and len(qualities) == 10 and qualities == sorted(qualities, reverse=True)\n"
    )
    subprocess.run([sys.executable, "-c", plans, str(package)], check=True, cwd=ROOT)


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    cells = json.loads((EXAMPLES / "finetune.ipynb").read_text())["cells"]
    script = tmp_path / "notebook.py"
    script.write_text("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    said = run(script, env={**os.environ, "WORK": str(tmp_path / "work"), "ATTEMPTS": "120", "SCENES": "6"})
    assert "bottle" in said
    assert "'n': 6" in said
