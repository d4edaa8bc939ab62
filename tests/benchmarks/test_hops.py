"""Moves between files and records as JSON: counted in made-up code, then in the real thing."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from places import ROOT

from benchmarks.hops.request_probe import Recorder
from benchmarks.serving.parts import CAMERA, scene
from grasp_client.contract import PlanRequest
from grasp_client.observation import Observation
from planning.batched_inference import plan_batched
from planning.local import local_planner

RECORD_PROBE = ROOT / "benchmarks" / "hops" / "record_probe.py"


def test_moves_are_calls_between_files_across_libraries_and_not_within_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "walk_one.py").write_text(
        "from functools import reduce\nimport walk_two\n"
        "def start():\n    own()\n    walk_two.leaf()\n    return reduce(walk_two.add, [1, 2, 3])\n"
        "def own():\n    return [walk_two.leaf() for _ in range(2)]\n"
    )
    (tmp_path / "walk_two.py").write_text("def leaf():\n    pass\ndef add(a, b):\n    leaf()\n    return a + b\n")
    monkeypatch.syspath_prepend(tmp_path)
    import walk_one  # type: ignore[import-not-found]

    recorder = Recorder(str(tmp_path))
    recorder.on = True
    sys.setprofile(recorder)
    try:
        walk_one.start()
    finally:
        sys.setprofile(None)
    seen = recorder.result()[threading.current_thread().name]
    assert seen["moves"] == [("walk_one.py", "walk_two.py")] * 5  # leaf 2 + 1, add 2; leaf below add stays in its file
    assert seen["calls"] == 9
    assert seen["files"] == 2


def test_timers_that_were_set_before_a_request_are_no_moves_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rings.py").write_text("def ring(loop):\n    loop.call_later(0, note, loop)\ndef note(loop):\n    pass\n")
    (tmp_path / "waits.py").write_text("import asyncio\ndef turn(loop):\n    loop.run_until_complete(asyncio.sleep(0.02))\n")
    monkeypatch.syspath_prepend(tmp_path)
    import rings  # type: ignore[import-not-found]
    import waits  # type: ignore[import-not-found]

    class Loop(asyncio.SelectorEventLoop):
        call_later, call_at = asyncio.BaseEventLoop.call_later, asyncio.BaseEventLoop.call_at

    recorder = Recorder(str(tmp_path))
    recorder.leave_out_timers([Loop])
    with closing(Loop()) as loop:
        loop.call_later(0, rings.ring, loop)  # sets another one
        recorder.on = True
        sys.setprofile(recorder)
        try:
            waits.turn(loop)
            loop.call_later(0, rings.note, loop)
            waits.turn(loop)
        finally:
            sys.setprofile(None)
    seen = recorder.result()[threading.current_thread().name]
    assert seen["moves"] == [("waits.py", "rings.py")]


def test_only_an_outcomes_json_is_noted_and_where_it_came_from(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(
        "import json\nfrom pydantic import BaseModel\n"
        "class Record(BaseModel):\n    contact_rule: str = 'strict'\n"
        "text = Record().model_dump_json()\n"
        "Record.model_validate_json(text.encode())\n"
        "json.loads(json.dumps({'meta': json.loads(text)}))\n"
        "json.loads(json.dumps({'rank': 3}))\n"
    )
    result = tmp_path / "seen.jsonl"
    subprocess.run(
        [sys.executable, RECORD_PROBE, "pipeline", result], check=True, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}
    )
    lines = [json.loads(line) for line in result.read_text().splitlines()]
    assert [(line["what"], line["by"]) for line in lines] == [
        ("serialised", "model_dump_json"), ("parsed", "model_validate_json"), ("parsed", "json.loads"),
        ("serialised", "json.dumps"), ("parsed", "json.loads"),
    ]  # fmt: skip
    assert lines[0]["where"] == f"{tmp_path / 'pipeline.py'}:5"


def test_a_plan_of_the_dense_planner_crosses_few_file_boundaries() -> None:
    planner = local_planner("dense", ROOT / "models")
    request = PlanRequest.model_validate({"camera": CAMERA})
    item = Observation(depth=scene().astype(np.float32) / 1000), request
    planner.plan(*item)
    recorder = Recorder(str(ROOT))
    recorder.on = True
    sys.setprofile(recorder)
    try:
        [plan] = plan_batched([(planner.planner, planner.network, item)])
    finally:
        sys.setprofile(None)
    assert plan.grasps
    assert len(recorder.result()[threading.current_thread().name]["moves"]) < 64


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_command(tmp_path: Path) -> None:
    figures = tmp_path / "hops.json"
    command = [sys.executable, "-m", "benchmarks.hops", "--json-file", str(figures)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())
    for side in ("http", "inference"):
        assert 0 < len(found["request"][side]["moves"]) <= found["request"][side]["calls"]
    assert len(found["request"]["http"]["moves"]) < 25
    assert len(found["request"]["inference"]["moves"]) < 70
    what = [step["what"] for step in found["outcome"]]
    assert what[0] == "serialised"
    assert "parsed" in what
