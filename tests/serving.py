"""A real server on a free port of this process, and what tests send to it."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from safetensors.torch import save
from waiting import PATIENCE, wait_until

from grasp_client.contract import CameraIntrinsics
from grasp_client.geometry import deproject
from grasp_client.imaging import encode_npy, encode_png_depth, encode_png_rgb
from inference_server.admission import BodyReader
from inference_server.app import create_app
from inference_server.http_server import config_of
from inference_server.models.warm import block_on_table, warm_up
from inference_server.service import Service
from planning.base import LoadedNetwork, Planner
from shared.networks import build_network
from shared.registry import ModelCard, Registry
from shared.settings import ServerSettings

OBSERVATION = block_on_table()
DEPTH: np.ndarray = OBSERVATION.depth if OBSERVATION.depth is not None else np.zeros(0)
RGB: np.ndarray = OBSERVATION.rgb if OBSERVATION.rgb is not None else np.zeros(0)
CAMERA = {"fx": 300.0, "fy": 300.0, "cx": 159.5, "cy": 119.5}
PNG, NPY, RGB_PNG = encode_png_depth(DEPTH), encode_npy(DEPTH), encode_png_rgb(RGB)
OPTIONS: dict[str, Any] = {"camera": CAMERA, "planner": "antipodal"}
_V, _U = np.nonzero(DEPTH > 0)
CLOUD = deproject(np.stack([_U, _V], 1), DEPTH[_V, _U], CameraIntrinsics(**CAMERA)).astype(np.float32)
THING = CLOUD[CLOUD[:, 2] < np.median(CLOUD[:, 2]) - 0.01]
"""The block without the table."""


def settings(models: Path, **changes: Any) -> ServerSettings:
    """Of a server that gives nobody up and refuses nobody because the machine is busy."""
    patient = {"deadline_ms": int(PATIENCE * 1e3), "drain_seconds": PATIENCE, "refusals_per_second": 1e6}
    values: dict[str, Any] = {"models_dir": models, "port": 0, "reload_seconds": 0.05, **patient, **changes}
    return ServerSettings(_env_file=None, **values)


@dataclass
class Running:
    """A server that answers at `url`."""

    url: str
    app: FastAPI
    client: httpx.Client

    @property
    def bodies(self) -> BodyReader:
        return self.app.state.bodies

    @property
    def service(self) -> Service:
        return self.app.state.service

    def raw(self, depth: np.ndarray = DEPTH, options: dict | None = None, **headers: str) -> httpx.Response:
        """Plan by the raw transport."""
        return self.client.post(
            "/predict_grasp", content=depth.tobytes(), headers={**raw_headers(depth, options or OPTIONS), **headers}
        )

    def form(self, options: Any = None, path: str = "/predict_grasp", **images: bytes) -> httpx.Response:
        """Plan by a form with image parts."""
        files = {name: (f"{name}.bin", data) for name, data in images.items()}
        return self.client.post(path, files=files, data={"request": json.dumps(options or OPTIONS)})


def raw_headers(depth: np.ndarray = DEPTH, options: dict | None = None) -> dict[str, str]:
    return {
        "content-type": "application/octet-stream",
        "x-shape": f"{depth.shape[0]},{depth.shape[1]}",
        "x-dtype": depth.dtype.name,
        "x-request": json.dumps(OPTIONS if options is None else options),
    }


_WARM: set[str] = set()
"""Planners that this process has planned with."""


def warm_once(planner: Planner, network: LoadedNetwork | None) -> None:
    """`warm_up`, but only for the first of a process's many servers: then what a planner needs is imported and compiled."""
    ready = planner.model_name is None or network is not None
    if ready and planner.name not in _WARM:
        warm_up(planner, network)
        _WARM.add(planner.name)


@contextmanager
def serving(chosen: ServerSettings) -> Iterator[Running]:
    """The real application behind the real HTTP server, until the block ends."""
    app = create_app(chosen)
    server = uvicorn.Server(config_of(app, chosen))
    thread = threading.Thread(target=server.run, daemon=True)
    try:
        with mock.patch("inference_server.service.warm_up", warm_once):
            thread.start()
            wait_until(lambda: server.started or not thread.is_alive())
        assert server.started, "the server did not start"
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            yield Running(url, app, client)
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive(), "the server did not end"


@contextmanager
def serving_shipped(folder: Path, **changes: Any) -> Iterator[Running]:
    """A server with a copy of the models that ship."""
    models = folder / "models"
    shutil.copytree(Path(__file__).parents[1] / "models", models)
    with serving(settings(models, **changes)) as running:
        yield running


def publish_dense(models: Path, seed: int, *, champion: bool = True, damage: Any = None, **card: Any) -> int:
    """A version of `dense` with weights made from a seed; `damage(state)` may spoil them before they are stored."""
    return publish(models, "dense", seed, champion=champion, damage=damage, **{"architecture": "dense", **card})


def publish(models: Path, name: str, seed: int, *, champion: bool = True, damage: Any = None, **card: Any) -> int:
    """A version of any model; `dense` gets weights of its own architecture whatever the card says."""
    torch.manual_seed(seed)
    state = build_network("dense" if name == "dense" else card["architecture"], {}).state_dict()
    if damage:
        state = damage(state)
    registry = Registry(models)
    version = registry.publish(name, save(state), ModelCard(name=name, **card))
    if champion:
        registry.promote(name, version)
    return version
