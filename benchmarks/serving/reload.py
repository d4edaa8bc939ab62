"""Weights that change under load: good versions one after the other, then damaged ones, which must be refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import torch
from safetensors.torch import load, save
from torch import Tensor

from benchmarks.serving.load import Load, closed_loop, run
from benchmarks.serving.parts import request
from benchmarks.serving.servers import Server
from inference_server.models.weights import PINNED_VERSIONS
from shared.networks import build_network
from shared.registry import BrokenModel, ModelCard, Registry

VERSIONS = PINNED_VERSIONS + 3
"""So many that none is still in memory when its turn comes again: every reload reads and checks a file."""
RELOADED = {"gpu_like": ("gpu-like", 16), "dense": ("dense", 2)}
"""Planner to its model and the clients that ask meanwhile."""


def fill(folder: Path, shipped: Path) -> Registry:
    """A registry with the stand-in's model (its network is not used) and every model that ships; several versions of what
    will be reloaded."""
    registry, source = Registry(folder), Registry(shipped)
    card = ModelCard(name="gpu-like", architecture="dense", note="benchmark")
    _publish(registry, card, save(build_network("dense", {}).state_dict()), VERSIONS)
    reloaded = {model for model, _ in RELOADED.values()}
    for name in source.names():
        version = source.champion(name)
        if version is not None:
            count = VERSIONS if name in reloaded else 1
            _publish(registry, source.card(name, version), source.read_weights(name, version), count)
    return registry


def _publish(registry: Registry, card: ModelCard, weights: bytes, versions: int) -> None:
    for _ in range(versions):
        registry.publish(card.name, weights, card)
    registry.promote(card.name, 1)


def reloads(server: Server, registry: Registry, planner: str, count: int, seconds: float) -> dict[str, Any]:
    """Latency without reloads; with `count` of them, one after the other, under the same load; and what comes of versions
    that are damaged."""
    model, clients = RELOADED[planner]
    asking = request(planner)
    versions = registry.versions(model)
    calm = run(closed_loop(server.port, asking, clients, seconds))

    async def change(client: httpx.AsyncClient) -> None:
        for number in range(1, count + 1):
            version = versions[number % len(versions)]
            await asyncio.to_thread(registry.promote, model, version)  # it waits for the disk, and the load must not
            reply = await client.post(f"/models/{model}/reload")
            assert reply.json()["serving"] == version, reply.text
            await asyncio.sleep(seconds / count)

    refused: dict[str, str] = {}

    async def damage(client: httpx.AsyncClient) -> None:
        good = registry.champion(model)
        for what, publish in DAMAGES.items():
            version = await asyncio.to_thread(publish, registry, model)
            try:
                await asyncio.to_thread(registry.promote, model, version)
            except BrokenModel as error:  # what its checksum tells, the registry refuses
                refused[what] = str(error)
            else:
                reply = await client.post(f"/models/{model}/reload")
                assert reply.status_code == 404, f"{what} weights were taken: {reply.text}"
                refused[what] = reply.json()["error"]["message"]
            serving = (await client.get(f"/models/{model}")).json()["serving"]
            assert serving == good, f"{what} weights serve"
            await asyncio.sleep(seconds / count)
        await asyncio.to_thread(registry.promote, model, good or 1)
        await client.post(f"/models/{model}/reload")

    busy, bad = run(_under_load(server, asking, clients, change)), run(_under_load(server, asking, clients, damage))
    return {
        "reloads": count, "clients": clients, "calm": calm.everything(), "busy": busy.everything(),
        "refused": refused, "refusing": bad.everything(),
    }  # fmt: skip


async def _under_load(server: Server, asking: bytes, clients: int, work: Callable[..., Any]) -> Load:
    going = True
    loading = asyncio.create_task(closed_loop(server.port, asking, clients, 0.0, more=lambda: going))
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        await work(client)
    going = False
    return await loading


def _corrupt(registry: Registry, model: str) -> int:
    version = _changed(registry, model, lambda tensor: tensor)
    path = registry.weights_path(model, version)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    return version


def _changed(registry: Registry, model: str, change: Callable[[Tensor], Tensor]) -> int:
    """A version whose largest tensor is another."""
    tensors, card = load(registry.read_weights(model, 1)), registry.card(model, 1)
    name = max(tensors, key=lambda name: tensors[name].numel())
    return registry.publish(model, save({**tensors, name: change(tensors[name]).clone()}), card)


DAMAGES: dict[str, Callable[[Registry, str], int]] = {
    "corrupt": _corrupt,
    "wrong shape": lambda registry, model: _changed(registry, model, lambda tensor: tensor[:1]),
    "NaN": lambda registry, model: _changed(registry, model, lambda tensor: torch.full_like(tensor, float("nan"))),
}
