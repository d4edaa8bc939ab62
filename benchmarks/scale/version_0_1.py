"""The load of `python -m benchmarks.scale` on version 0.1.0, which has no such benchmark: run with that tree on PYTHONPATH.

    PYTHONPATH=tree python version_0_1.py '{"workers": 8, "seconds": 12, "attempts": 32, "side": 240}' report.json

Its modules are known by name alone: this tree has others in their place.
"""

import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

POSE = np.diag([1.0, -1.0, -1.0, 1.0]).tolist()
SPAWN = multiprocessing.get_context("spawn")
MOST_SCENES = 4
"""Of a worker that wait to be sent, as in `benchmarks.scale.fleet`."""
TOGETHER = 200
"""Outcomes that ingest reads at once."""


def scene(number: int, attempts: int, side: int) -> list[Any]:
    """Outcomes of one view, as `benchmarks.scale.labels` makes them."""
    contract: Any = import_module("shared.contract")
    rng = np.random.default_rng(number)
    depth = np.full((side, side), 0.7)
    for left, top in rng.integers(0, side // 2, (6, 2)):
        depth[top : top + side // 6, left : left + side // 4] = rng.uniform(0.6, 0.69)
    units = np.rint((depth + rng.normal(0, 0.001, depth.shape)) / 1e-4).astype(np.uint16)
    camera = contract.CameraIntrinsics(fx=side, fy=side, cx=side / 2, cy=side / 2)
    ref = contract.SceneRef(seed=number, kind="pile", objects=[f"random/{each:03}" for each in range(8)])
    spec, outcomes = contract.ImageSpec(shape=[side, side], dtype="uint16", scale=1e-4), []
    for attempt in range(attempts):
        u, v, angle, quality = rng.uniform(0, side), rng.uniform(0, side), rng.uniform(-1.5, 1.5), float(rng.random())
        grasp = contract.Grasp(
            kind="parallel_jaw", quality=quality, center_px=[u, v], angle=angle, depth=0.65, width=0.04, pose_camera=POSE,
            pose_base=POSE,
        )  # fmt: skip
        meta = contract.OutcomeMeta(
            grasp=grasp, planner="feasible", quality=quality, success=bool(attempt % 3), scene=ref, camera=camera,
            failure=None if attempt % 3 else "missed", camera_pose=POSE, duration=1.0 + quality, images={"depth": spec},
            details={f"number_{each}": float(rng.random()) for each in range(12)},
        )  # fmt: skip
        outcomes.append(contract.Outcome(id=f"{number}:{attempt}", meta=meta, images={"depth": units}))
    return outcomes


def publish(url: str, folder: Path, name: str, load: dict[str, int], end: Any, spent: Any) -> None:
    """A worker without its physics, from when `end` is told until then."""
    streams: Any = import_module("shared.streams")
    stream = streams.OutcomeStream(streams.connect(url))
    scenes = [scene(each, load["attempts"], load["side"]) for each in (0, 1)]
    courier = import_module("sim_worker.courier").Courier(
        import_module("sim_worker.spool").Spool(folder, name),
        lambda entry: stream.publish(entry.outcome, entry.worker, entry.sequence),
    )
    with spent.get_lock():
        spent.value -= 1.0  # this one is ready
    while not end.value:
        time.sleep(0.05)
    courier.start()  # as its workers do
    episode, start = 0, time.process_time()
    while time.time() < end.value:
        for attempt, outcome in enumerate(scenes[episode % len(scenes)]):
            courier.put(outcome.model_copy(update={"id": f"{name}:{episode}:{attempt}"}))
        episode += 1
        while len(courier.spool.waiting()) > MOST_SCENES * load["attempts"]:
            time.sleep(0.1)
    while courier.spool.waiting():
        time.sleep(0.1)
    with spent.get_lock():
        spent.value += time.process_time() - start


def ingest(url: str, folder: Path) -> None:
    """The trainer's ingest, until it is killed."""
    streams: Any = import_module("shared.streams")
    ingest = import_module("trainer_job.ingest").Ingest(streams.OutcomeStream(streams.connect(url)), folder)
    while True:
        ingest.step(TOGETHER)


def main(load: dict[str, Any], out: Path) -> None:
    queue: Any = import_module("services.queue")
    streams: Any = import_module("shared.streams")
    shards: Any = import_module("shared.shards")
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), queue.free_port()
        url = f"redis://127.0.0.1:{port}/0"
        for each in ("queue", "shards", "spool"):
            (folder / each).mkdir()
        server = subprocess.Popen(queue.server_command(port, folder / "queue"), stdout=subprocess.DEVNULL)
        end, spent = SPAWN.Value("d", 0.0), SPAWN.Value("d", 0.0)
        stores = SPAWN.Process(target=ingest, args=(url, folder / "shards"), daemon=True)
        workers = [
            SPAWN.Process(target=publish, args=(url, folder / "spool", f"w{each}", load, end, spent), daemon=True)
            for each in range(load["workers"])
        ]
        try:
            while not queue.answers(url):
                time.sleep(0.05)
            for process in (stores, *workers):
                process.start()
            while spent.value > -len(workers):
                time.sleep(0.1)
            begun, before, spent.value = time.time(), cpu(stores.pid), 0.0
            end.value = begun + load["seconds"]
            for process in workers:
                process.join()
            stream = streams.OutcomeStream(streams.connect(url))
            while stream.lag() or stream.pending():
                time.sleep(0.05)
            seconds, sent = time.time() - begun, sum(stream.sent().values())
            ids = [each for shard in shards.shard_folders(folder / "shards") for each in shards.ShardReader(shard).ids()]
            stored = max(len(ids), 1)
            row = {
                "sent": sent, "stored": len(ids), "lost": sent - len(set(ids)), "twice": len(ids) - len(set(ids)),
                "stored_per_second": len(ids) / seconds, "worker_ms": 1e3 * spent.value / stored,
                "ingest_ms": 1e3 * (cpu(stores.pid) - before) / stored, "queue_ms": 1e3 * cpu(server.pid) / stored,
            }  # fmt: skip
        finally:
            stores.kill()
            server.kill()
    out.write_text(json.dumps(row))


def cpu(process: int | None) -> float:
    """Seconds of CPU that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), Path(sys.argv[2]))
