"""`python -m benchmarks.hostile` (`make bench-hostile`): what attacks cost an ordinary client beside them.

For each attack a server of its own answers one client that asks `antipodal` five times per second from another address than the
attack's, first alone and then beside it, and a probe that opens a connection for every `GET /live`. Ends with 1 when the p99
beside an attack is more than RATIO times the one without, when an ordinary request fails, or when `/live` takes LIVE_MS.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from rich.console import Console
from rich.table import Table

from benchmarks.hostile.attacks import NAMES
from benchmarks.serving.load import LOOPBACK, Connection, Load, run, timed
from benchmarks.serving.parts import TRICKLE_ADDRESS, TRICKLE_PER_SECOND, request
from benchmarks.serving.reload import fill
from benchmarks.serving.servers import ROOT, Server, graspserver
from benchmarks.serving.watch import resident_mb

RATIO = 3.0
LIVE_MS = 200.0
PROBES_PER_SECOND = 20
LIVE = f"GET /live HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n".encode()


class Settings(BaseSettings):
    __doc__ = __doc__

    model_config = SettingsConfigDict(cli_kebab_case=True)
    attacks: list[str] = Field(list(NAMES), description="which attacks")
    seconds: float = Field(20.0, gt=0, description="length of each, and of the time without it")
    models_dir: Path = Field(ROOT / "models", description="registry of the planners' models")
    json_file: Path = Field(Path("runs/hostile.json"), description="where the figures go")


def main(settings: Settings) -> dict[str, Any]:
    """Run the attacks and return the figures."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), settings.models_dir)
        for name in settings.attacks:
            with graspserver(Path(folder)) as server:
                figures[name] = beside(server, name, settings.seconds)
                print(name, json.dumps(figures[name]), flush=True)
    settings.json_file.parent.mkdir(parents=True, exist_ok=True)
    settings.json_file.write_text(json.dumps(figures, indent=1))
    Console(width=170).print(_table(figures))
    return figures


def holds(figures: dict[str, Any]) -> bool:
    """Whether every promise is kept."""
    return all(
        each["p99_ms"] <= RATIO * each["p99_without_ms"] and not each["failed"] and each["slowest_live_ms"] < LIVE_MS
        for each in figures.values()
    )


def beside(server: Server, name: str, seconds: float) -> dict[str, Any]:
    """The ordinary client without and beside an attack."""
    run(ordinary(server.port, 2.0))
    calm, _ = run(ordinary(server.port, seconds))
    before = resident_mb(server.process.pid)
    with attack(name, server.port) as statuses:
        load, live = run(ordinary(server.port, seconds))
    time.sleep(3.0)  # what it left behind is dropped or done, and memory given back
    without, with_it = calm.summary(), load.summary()
    return {
        "n": len(load.replies) + load.broken,
        "failed": len(load.replies) + load.broken - with_it["n"],
        "p50_ms": with_it.get("p50"),
        "p99_ms": with_it.get("p99", float("inf")),
        "p99_without_ms": without["p99"],
        "n_without": without["n"],
        "ratio": with_it.get("p99", float("inf")) / without["p99"],
        "probes": len(live.replies) + live.broken,
        "slowest_live_ms": live.summary().get("most", float("inf"))
        if len(live.statuses()) == 1 and not live.broken
        else float("inf"),
        "resident_mb": [before, resident_mb(server.process.pid)],
        "attack": statuses,
    }


async def ordinary(port: int, seconds: float) -> tuple[Load, Load]:
    """What an ordinary client and a probe meet."""
    load, live = Load(seconds), Load(seconds)
    connection, asking, tasks = Connection(port, TRICKLE_ADDRESS), request("antipodal"), []

    async def ask() -> None:
        until = time.perf_counter() + seconds
        turn = time.perf_counter()
        while turn < until:
            await asyncio.sleep(max(0.0, turn - time.perf_counter()))
            await timed(connection, asking, load)
            turn += 1 / TRICKLE_PER_SECOND

    async def probe() -> None:
        fresh = Connection(port, TRICKLE_ADDRESS)
        await timed(fresh, LIVE, live)
        fresh.close()

    client = asyncio.create_task(ask())
    while not client.done():
        tasks.append(asyncio.create_task(probe()))
        await asyncio.sleep(1 / PROBES_PER_SECOND)
    await asyncio.gather(client, *tasks)
    connection.close()
    return load, live


@contextmanager
def attack(name: str, port: int) -> Iterator[dict[str, int]]:
    """Attack during the block; what the attacker was told is in the dictionary after it."""
    command = [sys.executable, "-m", "benchmarks.hostile.attacks", name, str(port)]
    statuses: dict[str, int] = {}
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.stdin.write("\n")
            process.stdin.flush()
            yield statuses
            process.stdin.close()
            statuses.update(json.loads(process.stdout.readline()))
        finally:
            process.kill()


def _table(figures: dict[str, Any]) -> Table:
    columns = (
        "attack",
        "n",
        "failed",
        "p99 without, ms",
        "p99, ms",
        "ratio",
        "slowest /live, ms",
        "n",
        "memory, MB",
        "attack got",
    )
    table = Table(*columns)
    for name, each in figures.items():
        table.add_row(
            name, str(each["n"]), str(each["failed"]), f"{each['p99_without_ms']:.0f}", f"{each['p99_ms']:.0f}",
            f"{each['ratio']:.2f}", f"{each['slowest_live_ms']:.0f}", str(each["probes"]),
            " to ".join(f"{value:.0f}" for value in each["resident_mb"]), json.dumps(each["attack"]),
        )  # fmt: skip
    return table


if __name__ == "__main__":
    sys.exit(0 if holds(main(CliApp.run(Settings))) else 1)
