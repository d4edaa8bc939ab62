"""`python -m benchmarks.serving.acting` (`make bench-act`): steps of the policy that ships, 64 x 64, over loopback.

One client, 16 clients, beside a plain handler; of our server also one client beside others that plan, and 16 while the champion
changes.
`python -m benchmarks.serving.acting PORT` runs the plain handler.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, Request
from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from rich.console import Console
from rich.table import Table
from safetensors.torch import load

from benchmarks.serving.load import Load, closed_loop, post, run
from benchmarks.serving.parts import request as plan_request
from benchmarks.serving.servers import ROOT, Server, comparison, graspserver
from shared.features.eye_in_hand import SIDE, picture
from shared.networks.picture_actor import PictureActor
from shared.registry import Registry

POLICY = "closed-loop-depth"
CLIENTS = 16
PLANNING = 4
"""Clients that plan beside the one that acts."""


class Settings(BaseSettings):
    __doc__ = __doc__

    model_config = SettingsConfigDict(cli_kebab_case=True)
    seconds: float = Field(5.0, gt=0, description="length of each run")
    reloads: int = Field(20, ge=1, description="changes of the champion under load")
    json_file: Path = Field(Path("runs/acting.json"), description="where the figures go")


def step(registry: Registry) -> bytes:
    """One request of a loop, raw depth as a camera's integers."""
    terms = (registry.card(POLICY, served(registry)).model_extra or {})["policy"]
    options = {"camera": terms["camera"], "hand_camera_pose": terms["mount"], "policy": POLICY}
    depth = np.random.default_rng(0).integers(150, 300, (SIDE, SIDE)).astype("<u2")
    headers = {"Content-Type": "application/octet-stream", "X-Shape": f"{SIDE},{SIDE}", "X-Dtype": "uint16"}
    return post("/act", depth.tobytes(), {**headers, "X-Request": json.dumps(options)})


def served(registry: Registry) -> int:
    """The version that is served."""
    version = registry.champion(POLICY)
    assert version is not None
    return version


def plain_app() -> FastAPI:
    """What one writes first: a handler that decodes the body and calls the model."""
    torch.set_num_threads(1)
    registry, app = Registry(ROOT / "models"), FastAPI()
    version = served(registry)
    card = registry.card(POLICY, version)
    actor = PictureActor(**card.parameters)
    actor.load_state_dict(load(registry.read_weights(POLICY, version)))
    terms = (card.model_extra or {})["policy"]

    @app.post("/act")
    async def act(request: Request) -> dict[str, Any]:
        depth = np.frombuffer(await request.body(), "<u2").reshape(SIDE, SIDE) / 1000
        with torch.inference_mode():
            said = actor.eval()(torch.from_numpy(picture("depth", depth, None))[None])[0].numpy()
        moved = np.array(terms["movement"]) @ said[:-3] + np.array(terms["still"])
        return {"delta": moved[:3].tolist(), "yaw": float(moved[3])}

    return app


def compared(server: Server, asking: bytes, seconds: float) -> dict[str, Any]:
    """Of any server."""
    return {str(clients): run(closed_loop(server.port, asking, clients, seconds)).everything() for clients in (1, CLIENTS)}


def beside_plans(server: Server, asking: bytes, seconds: float) -> dict[str, Any]:
    """One client acts while others plan with `dense`."""

    async def both() -> tuple[Load, Load]:
        plans = closed_loop(server.port, plan_request("dense"), PLANNING, seconds)
        return await asyncio.gather(closed_loop(server.port, asking, 1, seconds), plans)

    acts, plans = run(both())
    return {"acts": acts.everything(), "plans": plans.everything()}


def while_reloading(server: Server, registry: Registry, asking: bytes, seconds: float, count: int) -> dict[str, Any]:
    """CLIENTS act while the champion changes `count` times."""
    first = served(registry)
    second = registry.publish(POLICY, registry.read_weights(POLICY, first), registry.card(POLICY, first))

    async def changing() -> Load:
        going = True
        loading = asyncio.create_task(closed_loop(server.port, asking, CLIENTS, 0.0, more=lambda: going))
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
            for number in range(count):
                version = (second, first)[number % 2]
                await asyncio.to_thread(registry.promote, POLICY, version)
                reply = await client.post(f"/models/{POLICY}/reload")
                assert reply.json()["serving"] == version, reply.text
                await asyncio.sleep(seconds / count)
        going = False
        return await loading

    return {"reloads": count, **run(changing()).everything()}


def main(settings: Settings) -> dict[str, Any]:
    """Run all and return the figures."""
    figures: dict[str, Any] = {"seconds": settings.seconds}
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry(folder)
        for name in (POLICY, "dense"):
            shipped = Registry(ROOT / "models")
            version = shipped.champion(name) or 1
            registry.promote(name, registry.publish(name, shipped.read_weights(name, version), shipped.card(name, version)))
        asking = step(registry)
        with graspserver(registry.root, queue_size=512) as server:
            figures["grasploop"] = compared(server, asking, settings.seconds)
            figures["beside plans"] = beside_plans(server, asking, settings.seconds)
            figures["reloading"] = while_reloading(server, registry, asking, settings.seconds, settings.reloads)
        with comparison("acting") as server:
            figures["plain"] = compared(server, asking, settings.seconds)
    rows = [(f"{who}, {clients}", row) for who in ("grasploop", "plain") for clients, row in figures[who].items()]
    rows += [(f"acts beside {PLANNING} that plan", figures["beside plans"]["acts"])]
    rows += [(f"{CLIENTS}, {settings.reloads} reloads", figures["reloading"])]
    table = Table("", "actions/s", "p50 ms", "p95", "p99", "n", "statuses", title="POST /act, 64 x 64 depth")
    for name, row in rows:
        cells = [f"{row.get(key, float('nan')):.2f}" for key in ("per_second", "p50", "p95", "p99")]
        table.add_row(name, *cells, str(row["n"]), str(row["statuses"]))
    Console(width=120).print(table)
    settings.json_file.parent.mkdir(parents=True, exist_ok=True)
    settings.json_file.write_text(json.dumps(figures, indent=1))
    return figures


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].isdigit():
        uvicorn.run(plain_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False)
    else:
        main(CliApp.run(Settings))
