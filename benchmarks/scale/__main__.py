"""`python -m benchmarks.scale`: how many outcomes go through a real queue and ingest, exactly once, and what they cost.

    python -m benchmarks.scale                                    # 8 workers as fast as they can
    python -m benchmarks.scale --workers 1000 --scenes-per-second 10 --seconds 600 --planned 0.2 --kills 50
    python -m benchmarks.scale --workers 100 --hosts 4            # on four hosts (network namespaces; needs root)
    python -m benchmarks.scale --backlog 20000 --ingest 2         # ingest alone, of a queue that is full already
    python -m benchmarks.scale --base e261ce5                     # this tree and version 0.1.0, in turn, 8 workers
    python -m benchmarks.scale --base e261ce5 --disk-writers 4    # the same on a disk that others write to

Workers are simulated: their outcomes are made (or recorded: --shards); what they say to queue and server is what workers say.
Ends with status 1 where an outcome is lost or stored twice.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict

from benchmarks.scale.comparison import compared
from benchmarks.scale.fleet import FleetPlan, run_fleet
from benchmarks.scale.hosts import ADDRESS, MOST_HOSTS, NETWORK, network
from benchmarks.scale.labels import Scene, made, named, recorded
from benchmarks.scale.parts import SPAWN, Parts, run_ingest
from benchmarks.tables import keep, show
from grasp_client.contract import SceneRequest
from shared.retrying import AWAY
from shared.shards import ShardReader, shard_folders
from shared.streams import OutcomeSender, OutcomeStream, SceneRequestStream, connect, stream_names
from shared.streams.outcome_batches import OutcomeBatch, pack_outcomes

PROCESSES = 8
"""Most, of the workers: what one waits for the disk, others send."""


class Settings(BaseSettings):
    __doc__ = __doc__

    model_config = SettingsConfigDict(cli_kebab_case=True, cli_implicit_flags=True)
    workers: int = Field(8, ge=1, le=4000, description="simulated workers, each with a connection of its own")
    scenes_per_second: float = Field(1e6, gt=0, description="scenes of all workers together per second")
    seconds: float = Field(15.0, gt=0, description="how long workers run")
    attempts: int = Field(32, ge=1, le=64, description="attempts in a scene")
    side: int = Field(240, ge=16, description="pixels of a side of the image")
    shards: Path | None = Field(None, description="take the scenes from the shards of this collection")
    hosts: int = Field(0, ge=0, le=MOST_HOSTS, description="network namespaces that the workers run in (needs root on Linux)")
    requests: int = Field(64, ge=0, description="scene requests kept waiting; 0: workers choose their scenes")
    streams: int = Field(2, ge=1, description="outcome streams")
    ingest: int = Field(1, ge=1, le=8, description="ingest processes")
    backlog: int = Field(0, ge=0, description="outcomes that are in the queue before ingest starts; no workers then")
    planned: float = Field(0.0, ge=0, le=1, description="share of the scenes for which the inference server is asked")
    kills: int = Field(0, ge=0, description="kill -9 of queue, ingest, server or a third of the workers, in all")
    base: str = Field("", description="commit to compare with: one of version 0.1.0, or one that has this benchmark")
    turns: int = Field(3, ge=1, description="turns of each tree in a comparison")
    disk_writers: int = Field(0, ge=0, le=64, description="processes that write to the same disk meanwhile, in a comparison")
    out: Path = Field(Path("data/benchmarks/scale.json"), description="report")


def main(settings: Settings) -> int:
    if settings.base:
        figures = "workers", "seconds", "attempts", "side", "streams", "ingest"
        load = {name: getattr(settings, name) for name in figures} | {"requests": 0}  # outcomes alone
        return compared(settings.base, settings.turns, load, settings.disk_writers, settings.out)
    scenes = recorded(settings.shards, 8, settings.attempts) if settings.shards else made(8, settings.attempts, settings.side)
    with tempfile.TemporaryDirectory() as folder, network(settings.hosts) as hosts:
        parts = Parts()
        try:
            if settings.backlog:
                row = backlog(settings, scenes, Path(folder), parts)
            else:
                row = loop(settings, scenes, Path(folder), parts, hosts)
        finally:
            parts.close()
    show("scale", [{"figure": name, "value": value} for name, value in row.items()])
    keep(settings.out, {"settings": settings.model_dump(mode="json"), **row})
    return int(row["lost"] or row["twice"])


def loop(settings: Settings, scenes: list[Scene], folder: Path, parts: Parts, hosts: list[str]) -> dict[str, Any]:
    """Workers, queue, ingest and, if asked for, the server, for `seconds`; then until all is stored."""
    url, workers_url = parts.queue(folder / "queue", ADDRESS if hosts else "")
    start_ingest(settings, url, folder, parts)
    server = parts.server(ADDRESS if hosts else "127.0.0.1") if settings.planned else ""
    end, spent, chance = SPAWN.Value("d", 0.0), SPAWN.Value("d", 0.0), random.Random(0)
    processes = min(PROCESSES, settings.workers)
    for number in range(processes):
        size = (settings.workers + number) // processes
        rate = settings.scenes_per_second / settings.workers
        host = hosts[number % len(hosts)] if hosts else ""
        outbox = folder / "spool" / str(number)  # a machine of their own: who looks for the dead opens every file of a folder
        plan = FleetPlan(workers_url, outbox, size, rate, settings.streams, server, settings.planned, host)
        parts.spawn(f"fleet-{number}", run_fleet, plan, scenes, end, number, spent)
    client, samples, killed = connect(url), list[dict[str, float]](), 0
    while sum(bool(each["name"]) for each in client.client_list()) < settings.workers:
        time.sleep(0.1)
    connected = client.client_list()
    addresses = {each["addr"].rpartition(":")[0] for each in connected}
    begun = time.time()
    end.value = begun + settings.seconds
    requests = SceneRequestStream(client)
    while (now := time.time()) < begun + settings.seconds:
        try:
            for number in range(requests.outstanding(), settings.requests):
                requests.issue(SceneRequest(id=f"{now}-{number}", seed=number))
            lag = sum(stream.lag() + stream.pending() for stream in streams_of(settings, client))
            samples.append({"queue_mb": client.info("memory")["used_memory"] / 1e6, "lag": lag} | _memory(parts))
        except AWAY:
            pass
        due = min(settings.kills, 1 + int(settings.kills * (now - begun) / settings.seconds))  # the last before the end
        if killed < due:
            parts.kill(chance)
            killed += 1
        time.sleep(0.5)
    parts.wait("fleet")
    sent_seconds = time.time() - begun
    row = finish(settings, client, folder, parts, begun)
    row["worker_ms"] = 1e3 * spent.value / max(row["stored"], 1)
    rates = {
        "connections": len(connected),
        "hosts": sum(each.startswith(NETWORK) for each in addresses),
        "sent_per_second": row["sent"] / sent_seconds,
        "kills": killed,
    }
    row |= rates | _flatness(samples)
    return row


def backlog(settings: Settings, scenes: list[Scene], folder: Path, parts: Parts) -> dict[str, Any]:
    """How fast ingest empties a queue, publishers stopped."""
    url, _ = parts.queue(folder / "queue")
    client = connect(url)
    sender, bodies = OutcomeSender(client, settings.streams), list[OutcomeBatch]()
    for episode in range(-(-settings.backlog // settings.attempts)):
        worker = f"w{episode % 16}"
        body = pack_outcomes(named(scenes[episode % len(scenes)], worker, episode))
        bodies.append(OutcomeBatch(worker, 1 + episode // 16 * settings.attempts, settings.attempts, body))
    for at in range(0, len(bodies), 64):
        sender.publish(bodies[at : at + 64])
    ready = SPAWN.Barrier(settings.ingest + 1)
    start_ingest(settings, url, folder, parts, ready)
    ready.wait()
    return finish(settings, client, folder, parts, time.time(), parts.ingest_cpu())


def start_ingest(settings: Settings, url: str, folder: Path, parts: Parts, ready: Any = None) -> None:
    (folder / "data").mkdir()
    for part in range(settings.ingest):
        parts.spawn(f"ingest-{part}", run_ingest, url, folder / "data", part, settings.streams, settings.ingest, ready)


def streams_of(settings: Settings, client: Any) -> list[OutcomeStream]:
    return [OutcomeStream(client, name) for name in stream_names(settings.streams)]


def finish(settings: Settings, client: Any, folder: Path, parts: Parts, begun: float, before: float = 0.0) -> dict[str, Any]:
    """Waits until the queue is empty; what was sent and stored, and what an outcome cost. before: seconds of CPU of ingest that
    are not counted."""
    while any(stream.lag() or stream.pending() for stream in streams_of(settings, client)):
        time.sleep(0.1)
    seconds = time.time() - begun
    ids = [name for shard in shard_folders(folder / "data" / "shards") for name in ShardReader(shard).ids()]
    sent, disk = sum(OutcomeStream(client).sent().values()), folder / "data" / "shards"
    stored = max(len(ids), 1)
    cpu = {"ingest": parts.ingest_cpu() - before, "queue": parts.cpu("queue")}
    received = int(client.info("stats")["total_net_input_bytes"])
    return {
        "sent": sent, "stored": len(ids), "lost": sent - len(set(ids)), "twice": len(ids) - len(set(ids)),
        "stored_per_second": len(ids) / seconds, "ingest_ms": 1e3 * cpu["ingest"] / stored,
        "queue_ms": 1e3 * cpu["queue"] / stored, "queue_bytes": received / stored,
        "disk_bytes": sum(path.stat().st_size for path in disk.rglob("*") if path.is_file()) / stored,
    }  # fmt: skip


def _memory(parts: Parts) -> dict[str, float]:
    kinds = {name.partition("-")[0] for name in parts.running} - {"fleet", "queue"}
    return {f"{kind}_mb": sum(parts.memory(name) for name in parts.running if name.startswith(kind)) for kind in kinds}


def _flatness(samples: list[dict[str, float]]) -> dict[str, float]:
    """Of each series: its mean in the second third and in the last one; the largest lag."""
    third, found = len(samples) // 3, dict[str, float]()
    for name in samples[-1] if third else ():
        for label, part in (("middle", samples[third : 2 * third]), ("end", samples[2 * third :])):
            values = [sample[name] for sample in part if name in sample]
            found[f"{name}_{label}"] = sum(values) / max(len(values), 1)
    return found | {"most_lag": max((sample["lag"] for sample in samples), default=0.0)}


if __name__ == "__main__":
    sys.exit(main(CliApp.run(Settings)))
