"""The dashboard in a real browser: what a person does there, without an error in the console or a barrier that axe finds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from serving import serving, settings

from grasp_client.cli.predict import main as predict
from shared.streams import TRAINERS, WorkerStatusStore, connect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODULES = Path(os.environ.get("BROWSER_MODULES", ROOT / ".venv" / "browser"))
PICTURES = Path(os.environ.get("BROWSER_PICTURES", ROOT / "runs" / "browser"))
FIRST_PAINT_MS, SHOWN_MS = 1000, 300


@pytest.fixture
def chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found or not shutil.which("node") or not (MODULES / "node_modules" / "playwright-core").is_dir():
        pytest.skip("needs Chromium, node and playwright-core: `make test-browser` says how")
    return found


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
