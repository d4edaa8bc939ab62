"""`python -m benchmarks.hops`: the hands that a request and an outcome pass through, counted while they pass.

Request: raw depth, 640 x 480, to `/predict_grasp`, planner `dense`, the fourth one on a connection that is kept, as clients
keep it. A move is a call (or the resumption of a coroutine) in which a function of one project file enters one of another;
frames of libraries in between are looked through (the event loop runs below `__main__`), and a return is no move of its own.
What a timer does that was set before the request came is left out. The inference thread is counted apart; the HTTP side is
every other thread.

Outcome: a worker attempts one grasp and a trainer writes it into a shard, through a real server and a real queue. Counted is
how often the record, all of an outcome but its pixels, is made into JSON and parsed from it before the shard is in its place.
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from rich.console import Console
from rich.table import Table

from benchmarks.compare.processes import Program, program, python
from benchmarks.compare.requests import raw
from benchmarks.compare.speed import serving
from benchmarks.compare.trees import HERE, ROOT, Tree, tree_of
from benchmarks.serving.parts import CAMERA, scene
from benchmarks.serving.servers import free_port
from benchmarks.tables import keep
from services import queue

PROBES = ROOT / "benchmarks" / "hops"
INFERENCE = "inference"
"""Name of the thread that plans."""
SECONDS = 240.0
"""Longest that any step may take."""
NEVER = 10**9


class Settings(BaseSettings):
    __doc__ = __doc__

    model_config = SettingsConfigDict(cli_kebab_case=True)
    commit: str = Field(HERE, description=f"commit to look at; {HERE}: this tree as it lies")
    json_file: Path = Field(Path("runs/hops.json"), description="where everything that was seen goes")


def main(settings: Settings) -> dict[str, Any]:
    """Count, print and write; returns what is written."""
    with tree_of(settings.commit) as tree, TemporaryDirectory() as folder:
        found = {"request": request_moves(tree, Path(folder)), "outcome": outcome_records(tree, Path(folder))}
    keep(settings.json_file, found)
    show(Console(width=max(120, Console().width)), found)
    return found


def request_moves(tree: Tree, folder: Path) -> dict[str, dict[str, Any]]:
    """By side, `http` and `inference`: project calls, files, and moves as pairs of files."""
    asked, result = folder / "request.json", folder / "request-seen.json"
    recorded = raw("one raw depth image", "dense", scene(), {"camera": CAMERA})
    body = base64.b64encode(recorded.body).decode()
    headers = {**recorded.headers, "X-Deadline-Ms": f"{1000 * SECONDS:.0f}"}
    asked.write_text(json.dumps({"path": recorded.path, "headers": headers, "body": body}))
    probe = [PROBES / "request_probe.py", tree.root, free_port(), asked, result]
    with python(tree, probe, folder, models_dir=tree.root / "models", reload_seconds=3600, device="cpu") as server:
        server.wait(SECONDS)
    threads = json.loads(result.read_text())
    return {"http": _together([seen for name, seen in threads.items() if name != INFERENCE]), "inference": threads[INFERENCE]}


def outcome_records(tree: Tree, folder: Path) -> list[dict[str, str]]:
    """What was done to the record of one outcome until its shard was in place, in order: {"what", "by", "where"}."""
    data, embedded, probe = folder / "data", queue.EmbeddedQueue(folder / "queue"), PROBES / "record_probe.py"
    seen = {module: folder / f"{module}-seen.jsonl" for module in ("sim_worker", "trainer_job")}
    common = {"redis_url": embedded.url, "data_dir": data, "models_dir": data / "models", "seed": 0}
    work = {"spool_dir": data / "spool", "attempts": 1, "planner": "antipodal"}
    train = {"shard_outcomes": 1, "outstanding_requests": 0, "outcomes_per_round": NEVER}

    def probed(module: str, **settings: object) -> AbstractContextManager[Program]:
        return python(tree, [probe, module, seen[module]], folder, **common, **settings)

    with program(embedded.command(), folder) as server:
        server.wait_for(lambda: queue.answers(embedded.url), SECONDS)
        with serving(tree) as planner, probed("sim_worker", server_url=planner.url, **work) as worker:
            worker.wait(SECONDS)
        with probed("trainer_job", **train) as trainer:
            [shard] = trainer.wait_for(lambda: list(data.glob("shards/shard-*")), SECONDS)
    in_place = shard.stat().st_ctime  # a folder changes last when it is renamed
    lines = [json.loads(line) for path in seen.values() for line in path.read_text().splitlines()]
    steps = [
        {"what": line["what"], "by": line["by"], "where": line["where"].removeprefix(f"{tree.root}{os.sep}")}
        for line in sorted(lines, key=lambda line: line["time"])
        if line["time"] <= in_place
    ]
    if not steps:
        raise RuntimeError("an outcome reached its shard, but nothing made it into JSON that this program knows of")
    return steps


def _together(threads: list[dict[str, Any]]) -> dict[str, Any]:
    """Several threads as one; a file that two of them enter counts for each."""
    return {
        "calls": sum(seen["calls"] for seen in threads),
        "files": sum(seen["files"] for seen in threads),
        "moves": [move for seen in threads for move in seen["moves"]],
    }


def show(console: Console, found: dict[str, Any]) -> None:
    table = Table("", "project calls", "files", "moves", "most often", title="one raw depth request, planner dense")
    for side, seen in found["request"].items():
        often = Counter(f"{caller} → {callee} {{}}" for caller, callee in seen["moves"]).most_common(6)
        pairs = "\n".join(pair.format(count) for pair, count in often)
        table.add_row(side, str(seen["calls"]), str(seen["files"]), str(len(seen["moves"])), pairs)
    console.print(table)
    table = Table("", "by", "where", title="the record of one outcome, from the attempt to its shard")
    for step in found["outcome"]:
        table.add_row(*step.values())
    console.print(table)
    counts = Counter(step["what"] for step in found["outcome"])
    moves = {side: len(seen["moves"]) for side, seen in found["request"].items()}
    console.print(
        f"moves: {moves['http']} on the HTTP side, {moves['inference']} in the inference thread; "
        f"an outcome is serialised {counts['serialised']} times and parsed {counts['parsed']} times"
    )


if __name__ == "__main__":
    main(CliApp.run(Settings))
