"""The dashboard in a real browser: what a person does there, without an error in the console or a barrier that axe finds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from serving import serving, settings

from grasp_client.cli.predict import main as predict
from grasp_client.contract import Grasp, GraspMeta, ImageSpec, Outcome
from shared.outcome_codec import EncodedOutcome, encode_outcome
from shared.streams import TRAINERS, FailureStore, WorkerStatusStore, connect
from trainer_job.ingest.failure_pictures import FailurePictures

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULES = Path(os.environ.get("BROWSER_MODULES", ROOT / ".venv" / "browser"))
PICTURES = Path(os.environ.get("BROWSER_PICTURES", ROOT / "runs" / "browser"))


@pytest.fixture
def chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found or not shutil.which("node") or not (MODULES / "node_modules" / "playwright-core").is_dir():
        pytest.skip("needs Chromium, node and playwright-core: `make test-browser` says how")
    return found


def failed_grasp() -> EncodedOutcome:
    """Of a robot, promised 83 %, on the example's depth image."""
    depth = np.asarray(Image.open(ROOT / "docs" / "example" / "depth.png"))
    grasp = Grasp(kind="parallel_jaw", quality=0.83, center_px=[160, 120], angle=0.4, depth=0.65, width=0.05)
    specs = {"depth": ImageSpec(shape=list(depth.shape), dtype="uint16", scale=1e-3)}
    meta = GraspMeta(
        planner="dense", success=False, failure="slipped", grasp=grasp, quality=0.83, images=specs, source="cell 4"
    )
    return encode_outcome(Outcome(id="of-a-robot", meta=meta, images={"depth": depth.astype(np.uint16)}))


def test_a_person_plans_watches_and_looks(chromium: str, redis_url: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models", tmp_path / "models")
    PICTURES.mkdir(parents=True, exist_ok=True)
    queue = connect(redis_url)
    WorkerStatusStore(queue).report(
        "sim-1", {"attempts": 40, "successes": 33, "state": "working", "recent_attempts": 30, "recent_successes": 27}
    )
    WorkerStatusStore(queue, TRAINERS).report(
        "trainer", {"state": "collecting", "outcomes": 512, "note": "31 of at most 400 pairs"}
    )
    script = MODULES / "actions.mjs"  # modules are looked for beside the script
    script.write_bytes((HERE / "actions.mjs").read_bytes())
    FailurePictures(FailureStore(queue)).look([failed_grasp()])
    with serving(settings(tmp_path / "models", redis_url=redis_url, admin_key="of-the-operator")) as server:
        view, example = tmp_path / "view.html", ROOT / "docs" / "example"
        options = ["--url", server.url, "--intrinsics", str(example / "camera.json"), "--overlay=none", f"--view={view}"]
        assert predict([str(example / "depth.png"), "--rgb", str(example / "color.png"), *options]) == 0
        command = ["node", str(script), server.url, str(PICTURES), chromium, str(view)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    (PICTURES / "found.json").write_text(json.dumps(found, indent=1))
    assert {name: result for name, result in found["checks"].items() if result != "ok"} == {}
    assert len(found["checks"]) >= 12
    assert found["console"] == []
    assert {view: [each for each in faults if each[0] in ("serious", "critical")] for view, faults in found["axe"].items()} == {
        "plan": [], "loop": [], "networks": [],
    }  # fmt: skip
    print("first paint, and what a plan took beyond the server, ms:", found["times"])
